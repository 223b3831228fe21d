"""Whose turn it is to be copied: found by index, though a first sync leaves a hundred thousand waiting.

Where the Image CDN is off, or an account was removed, nobody has a turn. So neither has to touch a picture: what is
due stays due, and has its turn when it is on again.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, func, select, union_all

from portal.db import db, now
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.listings.models import WITH_REMOVED, IntegrationAccount, IntegrationDefinition, Listing, ListingImage

# A place is a host. Threads have 12 MB each at the very worst, but for the few pictures that are larger.
LIMITS = ConcurrencyLimits(side_by_side=16, threads=80, per_place=6, per_workspace=6)
ACCOUNTS, PER_ACCOUNT = 50, 100  # that are looked at for each choice


def pick(most: int) -> list[int]:
    """Return the rows to take now, within the limits."""
    busy = _busy()
    return LIMITS.pick(_due(busy), busy, most)


def _busy() -> list[Candidate]:
    image = ListingImage
    found = (
        select(image.id, image.host, Listing.workspace_id, image.attempts > 1)
        .join(Listing, image.listing_id == Listing.id)
        .where(image.fetching_until > now())
        .execution_options(**WITH_REMOVED)  # their host is asked still
    )
    return [Candidate(*row) for row in db.session.execute(found)]


def _due(busy: Sequence[Candidate]) -> list[Candidate]:
    """Return the first of each account that are due."""
    hosts, workspaces = LIMITS.saturated(busy)
    image, at = ListingImage, now()
    workspace_of = {row.id: row.workspace_id for row in waiting(at, but_for=workspaces)}
    first = [
        select(
            select(image.id, image.host, image.account_id, (image.attempts > 0).label("is_suspect"))
            .where(image.account_id == account_id, image.next_at <= at, image.host.not_in(hosts))
            .order_by(image.next_at)  # and nothing else: a hundred thousand that are due at one moment are not sorted
            .limit(PER_ACCOUNT)
            .subquery()
        )
        for account_id in workspace_of
    ]
    if not first:
        return []
    due = union_all(*first).subquery()
    found = db.session.execute(select(due))
    return [Candidate(id, host, workspace_of[account_id], is_suspect) for id, host, account_id, is_suspect in found]


def waiting(at: datetime, but_for: Sequence[int] = ()) -> Sequence[Row[int, int]]:
    """Return accounts whose pictures wait, with their workspaces, without a look at each picture.

    The one of each workspace that waits longest comes first, then each one's next; and of these it is a draw: fifty
    accounts hide nobody for long, though the host that all of them want is full.
    """
    account, definition, image = IntegrationAccount, IntegrationDefinition, ListingImage
    oldest = select(func.min(image.next_at)).where(image.account_id == account.id).scalar_subquery()
    found = (
        select(account.id, definition.workspace_id, oldest.label("oldest"))
        .join(definition, account.definition_id == definition.id)
        .where(definition.enable_images_cdn, definition.workspace_id.not_in(but_for))
        .subquery()
    )
    place = func.row_number().over(partition_by=found.c.workspace_id, order_by=found.c.oldest)
    due = select(found.c.id, found.c.workspace_id).where(found.c.oldest <= at)
    return db.session.execute(due.order_by(place, func.random()).limit(ACCOUNTS)).all()
