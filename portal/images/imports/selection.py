"""Pick the URLs to fetch next: a few per host and per workspace, so that none waits for another's."""

from collections.abc import Sequence

from sqlalchemy import func, select

from portal.db import db, now
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.images.models import ImportItem, ImportJob, Property

# A destination is a host. One worker has threads for eight workspaces whose hosts all hang, and more for others.
LIMITS = ConcurrencyLimits(quick_tasks=16, threads=80, per_destination=4, per_workspace=8)
CANDIDATES, PER_WORKSPACE = 1000, 40  # considered for each pick


def pick(most: int) -> list[int]:
    """Return the items to fetch now, within the limits of all workers."""
    busy = _busy()
    return LIMITS.pick(_due(busy), busy, most)


def _busy() -> list[Candidate]:
    """Return what all workers are fetching now."""
    busy = (
        select(ImportItem.id, ImportItem.host, Property.workspace_id, ImportItem.attempts > 1)
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.fetching_until > now())
    )
    return [Candidate(*row) for row in db.session.execute(busy)]


def _due(busy: Sequence[Candidate]) -> list[Candidate]:
    """Return each workspace's first due items, taking imports in turn, so that no backlog hides another."""
    hosts, workspaces = LIMITS.saturated(busy)
    order = (ImportItem.attempts, ImportItem.position, ImportItem.id)  # new items come before failed ones
    rank = func.row_number().over(partition_by=Property.workspace_id, order_by=order)
    due = (
        select(
            ImportItem.id,
            ImportItem.host,
            Property.workspace_id,
            (ImportItem.attempts > 0).label("is_retry"),
            rank.label("rank"),
        )
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.next_at <= now(), ImportItem.host.not_in(hosts), Property.workspace_id.not_in(workspaces))
        .subquery()
    )
    first = select(due).where(due.c.rank <= PER_WORKSPACE).order_by(due.c.rank, due.c.id).limit(CANDIDATES)
    return [Candidate(*row[:4]) for row in db.session.execute(first)]
