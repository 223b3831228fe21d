"""Which URLs are fetched next: a few from each host and for each workspace, so nobody waits for others."""

from collections.abc import Sequence

from sqlalchemy import func, select

from portal.db import db, now
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.images.models import ImportItem, ImportJob, Property

# A place is a host. One worker has threads for eight workspaces whose hosts all hang, and for others besides.
LIMITS = ConcurrencyLimits(side_by_side=16, threads=80, per_place=4, per_workspace=8)
CANDIDATES, PER_WORKSPACE = 1000, 40  # that are looked at for each pick


def pick(most: int) -> list[int]:
    """Return the items to fetch now, within the limits of all workers."""
    busy = _busy()
    return LIMITS.pick(_due(busy), busy, most)


def _busy() -> list[Candidate]:
    """Return what every worker is fetching now."""
    busy = (
        select(ImportItem.id, ImportItem.host, Property.workspace_id, ImportItem.attempts > 1)
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.fetching_until > now())
    )
    return [Candidate(*row) for row in db.session.execute(busy)]


def _due(busy: Sequence[Candidate]) -> list[Candidate]:
    """Return the first of each workspace that are due, one of each import after the other: no queue hides another."""
    hosts, workspaces = LIMITS.saturated(busy)
    order = (ImportItem.attempts, ImportItem.position, ImportItem.id)  # what failed before comes after what is new
    place = func.row_number().over(partition_by=Property.workspace_id, order_by=order)
    due = (
        select(
            ImportItem.id,
            ImportItem.host,
            Property.workspace_id,
            (ImportItem.attempts > 0).label("is_retry"),
            place.label("place"),
        )
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.next_at <= now(), ImportItem.host.not_in(hosts), Property.workspace_id.not_in(workspaces))
        .subquery()
    )
    first = select(due).where(due.c.place <= PER_WORKSPACE).order_by(due.c.place, due.c.id).limit(CANDIDATES)
    return [Candidate(*row[:4]) for row in db.session.execute(first)]
