"""Which pictures are copied next: picked by index, as a first sync leaves a hundred thousand waiting.

Pictures of a removed account, or of a provider whose Image CDN is off, are never picked. Switching and removing
therefore write no picture's row: due pictures stay due and are picked when the Image CDN is on again.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, func, select, union_all

from portal.db import db, now
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.listings.models import WITH_REMOVED, IntegrationAccount, IntegrationDefinition, Listing, ListingImage

# A destination is a host. A thread holds at most 12 MB of a picture, except for the few larger ones.
LIMITS = ConcurrencyLimits(quick_tasks=16, threads=80, per_destination=6, per_workspace=6)
ACCOUNTS, PER_ACCOUNT = 50, 100  # considered for each pick


def pick(limit: int) -> list[int]:
    """Return the ids of the pictures to copy now, within the limits."""
    in_flight = _in_flight()
    return LIMITS.pick(_due_pictures(in_flight), in_flight, limit)


def pick_copies(keys: Sequence[str], limit: int) -> list[int]:
    """Return the ids of the due pictures with these copies, within the limits."""
    in_flight = _in_flight()
    image, definition = ListingImage, IntegrationDefinition
    due = (
        select(image.id, image.host, definition.workspace_id, (image.attempts > 0).label("is_retry"))
        .join(IntegrationAccount, image.account_id == IntegrationAccount.id)
        .join(definition, IntegrationAccount.definition_id == definition.id)
        .where(image.key.in_(keys), image.next_at <= now(), image.superseded_at.is_(None))
        .where(definition.enable_images_cdn)
    )
    return LIMITS.pick([Candidate(*row) for row in db.session.execute(due)], in_flight, limit)


def _in_flight() -> list[Candidate]:
    image = ListingImage
    query = (
        select(image.id, image.host, Listing.workspace_id, image.attempts > 1)
        .join(Listing, image.listing_id == Listing.id)
        .where(image.fetching_until > now())
        .execution_options(**WITH_REMOVED)  # requests to their hosts may still be running
    )
    return [Candidate(*row) for row in db.session.execute(query)]


def _due_pictures(in_flight: Sequence[Candidate]) -> list[Candidate]:
    """Return the first due pictures of each account."""
    hosts, workspaces = LIMITS.saturated(in_flight)
    image, at = ListingImage, now()
    workspace_of = {row.id: row.workspace_id for row in due_accounts(at, excluding=workspaces)}
    first = [
        select(
            select(image.id, image.host, image.account_id, (image.attempts > 0).label("is_retry"))
            .where(image.account_id == account_id, image.next_at <= at, image.host.not_in(hosts))
            .order_by(image.next_at)  # no tie-breaker: it would sort a hundred thousand rows due at the same time
            .limit(PER_ACCOUNT)
            .subquery()
        )
        for account_id in workspace_of
    ]
    if not first:
        return []
    due = union_all(*first).subquery()
    rows = db.session.execute(select(due))
    return [Candidate(id, host, workspace_of[account_id], is_retry) for id, host, account_id, is_retry in rows]


def due_accounts(at: datetime, excluding: Sequence[int] = ()) -> Sequence[Row[int, int]]:
    """Return accounts with due pictures, and their workspaces, without reading each picture.

    Each workspace's longest-waiting account comes first, then each one's second, and so on; ties are broken at random,
    so that accounts whose host is saturated don't keep others out of the first ACCOUNTS for long.
    """
    account, definition, image = IntegrationAccount, IntegrationDefinition, ListingImage
    oldest = select(func.min(image.next_at)).where(image.account_id == account.id).scalar_subquery()
    accounts = (
        select(account.id, definition.workspace_id, oldest.label("oldest"))
        .join(definition, account.definition_id == definition.id)
        .where(definition.enable_images_cdn, definition.workspace_id.not_in(excluding))
        .subquery()
    )
    rank = func.row_number().over(partition_by=accounts.c.workspace_id, order_by=accounts.c.oldest)
    due = select(accounts.c.id, accounts.c.workspace_id).where(accounts.c.oldest <= at)
    return db.session.execute(due.order_by(rank, func.random()).limit(ACCOUNTS)).all()
