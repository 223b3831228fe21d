"""Counter cache: how many pictures of each listing are copied, failed or waiting, stored on the listing.

Counting 200,000 pictures takes 600 ms; summing 10,000 listings takes 3 ms, and pages poll once a second.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, ScalarSelect, SQLColumnExpression, case, func, select, update

from portal.accounts.models import Workspace
from portal.db import db
from portal.listings.models import IntegrationAccount, Listing, ListingImage


class Counts(NamedTuple):
    """The number of listings, of their pictures by state, and of listings with a failed or a waiting picture."""

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
    """Recount the pictures of these listings in one statement, without those that the PMS no longer lists.

    Call it with every change to the pictures, holding the listings' locks.
    """
    image = ListingImage
    statement = update(Listing).where(Listing.id.in_(listing_ids))
    statement = statement.values(
        copied=_count(image.failure_reason.is_(None) & image.key.is_not(None)),
        failed=_count(image.failure_reason.is_not(None)),
        waiting=_count(image.failure_reason.is_(None) & image.key.is_(None)),
        updated_at=Listing.updated_at,  # overrides onupdate: the listing itself did not change
    )
    db.session.execute(statement.execution_options(synchronize_session=False))


def by_account(workspace: Workspace) -> dict[int, Counts]:
    """Map the account ids of a workspace to their counts, in one statement; accounts without listings are absent."""
    sums = [_sum(column) for column in (Listing.copied, Listing.failed, Listing.waiting)]
    having = [_sum(case((column > 0, 1), else_=0)) for column in (Listing.failed, Listing.waiting)]
    query = select(Listing.account_id, func.count(), *sums, *having).where(Listing.workspace_id == workspace.id)
    rows = db.session.execute(query.group_by(Listing.account_id))
    return {account_id: Counts(*map(int, numbers)) for account_id, *numbers in rows}


def waiting(account: IntegrationAccount) -> int:
    """Count an account's pictures that have no copy yet, in one statement."""
    query = select(_sum(Listing.waiting)).where(Listing.workspace_id == account.definition.workspace_id)
    return int(db.session.scalar(query.where(Listing.account_id == account.id)) or 0)


def total(counts: Sequence[Counts]) -> Counts:
    """Add up the counts of several accounts."""
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


def _sum(number: SQLColumnExpression[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(number), 0)


def _count(condition: ColumnElement[bool]) -> ScalarSelect[int]:
    current = select(func.count()).where(ListingImage.listing_id == Listing.id, ListingImage.superseded_at.is_(None))
    return current.where(condition).scalar_subquery()
