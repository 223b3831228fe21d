"""Running, waiting, failed and finished jobs, read from the database rather than from RQ, which may lose them.

Five kinds of rows are jobs (`variants`, `imports`, `listings`, `syncs`, `deliveries`); this package lists them as one.
"""

from collections import Counter
from datetime import timedelta
from heapq import merge
from typing import Any, NamedTuple

from sqlalchemy import exists, or_, select, union_all

from portal.accounts.models import Workspace
from portal.activity.deliveries import Deliveries
from portal.activity.imports import Imports
from portal.activity.listings import Listings, failed_pictures
from portal.activity.shapes import KINDS, STATES, Cause, Counts, Job
from portal.activity.source import JobSource
from portal.activity.syncs import Syncs
from portal.activity.variants import Photos, file_names
from portal.db import MAX_ID, db, is_id, now
from portal.errors import Invalid, NotFound, demand_known

__all__ = [
    "KINDS",
    "STATES",
    "Cause",
    "Counts",
    "Job",
    "Page",
    "causes",
    "counts",
    "failed_pictures",
    "file_names",
    "find",
    "has_failed",
    "jobs_per_minute",
    "page",
    "try_again",
    "try_all_again",
]

SOURCES: dict[str, JobSource[Any]] = {
    source.kind: source
    for source in (
        Photos(),
        Listings(),
        Syncs(),
        Deliveries(),
        Imports(),  # last: if it raises OverQuota, all others have been retried already
    )
}
MINUTES = 60
MAX_PAGE = 100
MAX_CAUSES = 20


class Page(NamedTuple):
    """Some jobs, newest first, and the cursor of the next page."""

    items: list[Job]
    next_cursor: str | None


def page(
    workspace: Workspace,
    *,
    kind: str | None = None,
    state: str | None = None,
    search: str = "",
    after: str | None = None,
    limit: int = 30,
) -> Page:
    """Return a page of jobs, newest first. Raises Invalid for an unknown kind, state or cursor.

    Each kind is read by its own ids, newest first; the cursor holds a position for each kind.
    """
    demand_known("kind", kind, KINDS)
    demand_known("state", state, STATES)
    limit = max(1, min(limit, MAX_PAGE))
    before = dict(zip(KINDS, _positions(after), strict=True))
    kinds = KINDS if kind is None else (kind,)
    lists = [SOURCES[each].page(workspace, state, search, before[each], limit + 1) for each in kinds]
    jobs = list(merge(*lists, key=lambda job: job.at, reverse=True))
    if len(jobs) <= limit:
        return Page(jobs, None)
    for job in jobs[:limit]:
        before[job.kind] = job.row.id
    cursor = ".".join("" if before[each] == MAX_ID else str(before[each]) for each in KINDS)
    return Page(jobs[:limit], cursor)


def find(workspace: Workspace, uuid: str) -> Job:
    """Return a job by the public id of its row. Raises NotFound, also for another workspace's job."""
    for source in SOURCES.values():
        if job := source.find(workspace, uuid):
            return job
    raise NotFound("There is no such job.", code="job_not_found")


def counts(workspace: Workspace) -> Counts:
    """Count the jobs of a workspace, in one statement per kind."""
    return Counts(*map(sum, zip(*(source.counts(workspace) for source in SOURCES.values()), strict=True)))


def has_failed(workspace: Workspace) -> bool:
    """Return whether any failed job is left to retry, in one statement: every page shows it."""
    return bool(db.session.scalar(select(or_(*(exists(source.failed(workspace)) for source in SOURCES.values())))))


def causes(workspace: Workspace) -> list[Cause]:
    """Return the reasons and destinations of failures, most frequent first."""
    found = [cause for source in SOURCES.values() for cause in source.causes(workspace)]
    return sorted(found, key=lambda cause: (-cause.failures, cause.reason, cause.destination))[:MAX_CAUSES]


def try_again(job: Job) -> None:
    """Retry a failed job. Raises OverQuota, and Conflict if its webhook is switched off."""
    SOURCES[job.kind].try_again(job.row)


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    """Retry all failed jobs, or those of one cause. Raises OverQuota if an import exceeds its quota."""
    for source in [SOURCES[cause.kind]] if cause else SOURCES.values():
        source.try_all_again(workspace, cause)


def jobs_per_minute(workspace: Workspace) -> list[int]:
    """Return the number of jobs done in each of the last 60 minutes, oldest first, in one statement."""
    this_minute = now().replace(second=0, microsecond=0)
    since = this_minute - timedelta(minutes=MINUTES - 1)
    queries = [source.done_by_minute(workspace, since) for source in SOURCES.values()]
    done: Counter[int] = Counter()
    for minute, number in db.session.execute(union_all(*(query for query in queries if query is not None))):
        done[int(minute)] += number
    return [done[(since + timedelta(minutes=n)).minute] for n in range(MINUTES)]


def _positions(cursor: str | None) -> list[int]:
    parts = [""] * len(KINDS) if cursor is None else cursor.split(".")
    is_valid = len(parts) == len(KINDS) and all(not part or is_id(part) for part in parts)
    positions = [int(part) if part else MAX_ID for part in parts] if is_valid else []
    if not positions:
        raise Invalid("Invalid cursor.", code="cursor")
    return positions
