"""How listings stand: how many of their pictures are copied, failed and wait. Counted on the listing itself.

Adding up 200,000 pictures takes 600 ms, and 10,000 listings 3 ms: pages ask once a second.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, case, func, select, update

from portal.accounts.models import Workspace
from portal.db import db
from portal.listings.models import IntegrationAccount, Listing, ListingImage


class Counts(NamedTuple):
    """How many listings there are; their pictures by state; and how many listings have one that failed, or waits."""

    listings: int = 0
    copied: int = 0
    failed: int = 0
    waiting: int = 0
    with_failed: int = 0
    with_waiting: int = 0

    @property
    def pictures(self) -> int:
        return self.copied + self.failed + self.waiting


def refresh(listing_ids: Sequence[int]) -> None:
    """Count the pictures of these listings anew, in one statement: with each change of them, under the listings' locks.

    What the PMS doesn't name any more is not counted.
    """
    image = ListingImage
    counted = update(Listing).where(Listing.id.in_(listing_ids))
    counted = counted.values(
        copied=_number(image.failure_reason.is_(None) & image.key.is_not(None)),
        failed=_number(image.failure_reason.is_not(None)),
        waiting=_number(image.failure_reason.is_(None) & image.key.is_(None)),
        updated_at=Listing.updated_at,  # the listing itself is what it was
    )
    db.session.execute(counted.execution_options(synchronize_session=False))


def by_account(workspace: Workspace) -> dict[int, Counts]:
    """Add up the listings of each account of a workspace, by its id, in one statement; none for one without any."""
    sums = [_sum(column) for column in (Listing.copied, Listing.failed, Listing.waiting)]
    having = [_sum(case((column > 0, 1), else_=0)) for column in (Listing.failed, Listing.waiting)]
    mine = select(Listing.account_id, func.count(), *sums, *having).where(Listing.workspace_id == workspace.id)
    found = db.session.execute(mine.group_by(Listing.account_id))
    return {account_id: Counts(*map(int, numbers)) for account_id, *numbers in found}


def waiting(account: IntegrationAccount) -> int:
    """Count the pictures of an account that have no copy yet, in one statement."""
    mine = select(_sum(Listing.waiting)).where(Listing.workspace_id == account.definition.workspace_id)
    return int(db.session.scalar(mine.where(Listing.account_id == account.id)) or 0)


def together(each: Sequence[Counts]) -> Counts:
    return Counts(*map(sum, zip(*each, strict=True))) if each else Counts()


def _sum(number: SQLColumnExpression[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(number), 0)


def _number(condition: ColumnElement[bool]) -> ScalarSelect[int]:
    current = select(func.count()).where(ListingImage.listing_id == Listing.id, ListingImage.superseded_at.is_(None))
    return current.where(condition).scalar_subquery()
