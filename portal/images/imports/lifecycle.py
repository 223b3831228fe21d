"""The life of an import: start, progress, monthly budget, retry and end. A worker fetches the URLs (`fetch`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import selectinload

from portal import remote
from portal.accounts.models import Workspace
from portal.db import as_uuid, db, now
from portal.errors import Invalid, NotFound, OverQuota
from portal.images import gallery
from portal.images.models import FAILED, PENDING, READY, ImportBudget, ImportItem, ImportJob, Property
from portal.infra import jobs
from portal.work import Work, lock, work

MAX_URLS = 20  # Property Images API, "Import Images by URL"
MAX_URL_LENGTH = 2048  # the same
DUPLICATE = "duplicate_url"
FAILED_ITEM = and_(ImportItem.state == FAILED, ImportItem.code != DUPLICATE)
"""Items that may be retried: all failed ones except duplicates. `may_retry` is the same rule for one item."""

Status = Literal["pending", "processing", "completed", "failed"]  # Property Images API, "Poll Import Job"


@dataclass(frozen=True)
class Progress:
    """An import's progress, counted from its items."""

    status: Status
    total: int
    imported: int
    failed: int
    total_bytes: int


@dataclass(frozen=True)
class Budget:
    """How many images a workspace may import in this calendar month (UTC), and how many of them are used."""

    used: int
    limit: int
    month: str

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


class KnownPicture(NamedTuple):
    """What is known about a picture before its URL is fetched: its description, and the key of our copy."""

    alt_text: str | None = None
    copy_key: str | None = None  # in the CDN bucket


def start(
    property: Property,
    urls: Sequence[str],
    *,
    added_by: str = "",
    known: Mapping[str, KnownPicture] | None = None,
    most: int = MAX_URLS,
) -> ImportJob:
    """Accept URLs to import. Raises Invalid for a URL that can't be fetched, OverQuota for lack of room or budget.

    A URL that is listed twice is imported once; the second item fails with the code DUPLICATE.
    """
    hosts = [_host(url, index) for index, url in enumerate(_checked(urls, most))]
    known = {
        url: each._replace(alt_text=gallery.checked_alt_text(each.alt_text)) for url, each in (known or {}).items()
    }
    month = f"{now():%Y-%m}"
    with work() as w:
        if not lock(property):
            raise NotFound("There is no such property.", code="property_not_found")
        distinct = len(set(urls))
        gallery.require_quota(property, distinct)
        _reserve(property.workspace, month, distinct)
        job = ImportJob(property_id=property.id, month=month, added_by=added_by)
        db.session.add(job)
        db.session.flush()
        for position, (url, host) in enumerate(zip(urls, hosts, strict=True)):
            facts = known.get(url, KnownPicture())._asdict()
            item = ImportItem(job_id=job.id, position=position, url=url, host=host, **facts)
            if url in urls[:position]:
                _fail(item, DUPLICATE, "This URL appears twice in the request.")
            db.session.add(item)
        w.enqueue(jobs.run_imports())
    return job


def find(property: Property, uuid: str) -> ImportJob:
    """Return an import of this property. Raises NotFound, also for another property's import."""
    by_uuid = select(ImportJob).where(ImportJob.property_id == property.id, ImportJob.uuid == as_uuid(uuid))
    job = db.session.scalar(by_uuid)
    if job is None:
        raise NotFound("There is no such import.", code="import_not_found")
    return job


def items(job: ImportJob) -> list[ImportItem]:
    """Return an import's items in the order of the request."""
    return list(db.session.scalars(select(ImportItem).where(ImportItem.job_id == job.id).order_by(ImportItem.position)))


def recent(property: Property, failed_for: timedelta) -> list[ImportJob]:
    """Return imports in progress, and those with items to retry that ended within `failed_for`; oldest first."""
    has_failed = exists(select(ImportItem.id).where(ImportItem.job_id == ImportJob.id, FAILED_ITEM))
    is_of_interest = or_(
        ImportJob.completed_at.is_(None), and_(ImportJob.completed_at > now() - failed_for, has_failed)
    )
    found = select(ImportJob).where(ImportJob.property_id == property.id, is_of_interest).order_by(ImportJob.id)
    return list(db.session.scalars(found.options(selectinload(ImportJob.items))))


def progress(job: ImportJob, its_items: Sequence[ImportItem]) -> Progress:
    """Count an import's progress. An ended import is completed if any image was imported, else failed."""
    imported = sum(item.state == READY for item in its_items)
    status: Status
    if job.completed_at:
        status = "completed" if imported else "failed"
    else:
        status = "processing" if any(item.attempts for item in its_items) else "pending"
    failed = sum(item.state == FAILED for item in its_items)
    return Progress(status, len(its_items), imported, failed, sum(item.size_bytes for item in its_items))


def budget(workspace: Workspace) -> Budget:
    """Return the budget of the current calendar month, UTC."""
    month = f"{now():%Y-%m}"
    row = db.session.scalar(_budget_of(workspace.id, month))
    return Budget(row.used if row else 0, workspace.plan.imports_per_month, month)


def finish(w: Work, item: ImportItem, *, code: str | None = None, message: str = "") -> None:
    """End an item, as imported or, with a code, as failed; the last one ends its import.

    A failed item returns its part of the budget. An import that added any image emits one event, at its end. Call it
    under the property's lock.
    """
    job = item.job
    if code:
        _fail(item, code, message)
        _release(job.property.workspace, job.month)
    else:
        item.state, item.next_at, item.fetching_until = READY, None, None
    db.session.flush()
    states = {row.state: row.count for row in db.session.execute(_states(job))}
    if not states.get(PENDING):
        job.completed_at = now()
        if states.get(READY):
            gallery.emit_updated(w, job.property)


def may_retry(item: ImportItem) -> bool:
    return item.state == FAILED and item.code != DUPLICATE


def try_again(job: ImportJob, *, cause: tuple[str, str] | None = None) -> None:
    """Retry failed items; budget and room are checked and reserved again. Raises OverQuota.

    `cause`, a host and a message, restricts it to the items that failed for that reason.
    """
    with work() as w:
        property = db.session.get(Property, job.property_id)
        if property is None or not lock(property):
            raise NotFound("There is no such property.", code="property_not_found")
        failed = [item for item in items(job) if may_retry(item) and cause in (None, (item.host, item.message or ""))]
        gallery.require_quota(property, len(failed))
        _reserve(property.workspace, job.month, len(failed))
        for item in failed:
            item.state, item.next_at, item.fetching_until = PENDING, now(), None
            item.attempts, item.code, item.message = 0, None, None
        if failed:
            job.completed_at = None
            w.enqueue(jobs.run_imports())


def release_budget(property: Property) -> None:
    """Release the budget reserved by the pending items of a property that is deleted. Call it under its lock."""
    waiting = (
        select(ImportJob.month, func.count())
        .join(ImportItem, ImportItem.job_id == ImportJob.id)
        .where(ImportJob.property_id == property.id, ImportItem.state == PENDING)
        .group_by(ImportJob.month)
    )
    for month, count in db.session.execute(waiting).all():
        _release(property.workspace, month, count)


def _checked(urls: Sequence[str], most: int) -> Sequence[str]:
    if not 1 <= len(urls) <= most:
        raise Invalid(f"An import takes 1 to {most} URLs; this one has {len(urls)}.", code="urls")
    return urls


def _host(url: str, index: int) -> str:
    if len(url) > MAX_URL_LENGTH:
        message = f"A URL may have at most {MAX_URL_LENGTH} characters."
        raise Invalid(message, code="invalid_url", details={"index": index})
    try:
        return remote.check_url(url).authority[:255]
    except remote.RequestRefused as refused:
        raise Invalid(refused.message, code="invalid_url", details={"index": index}) from refused


def _reserve(workspace: Workspace, month: str, wanted: int) -> None:
    """Reserve images in the month's budget. The workspace's lock keeps parallel imports from exceeding it."""
    lock(workspace)
    row = db.session.scalar(_budget_of(workspace.id, month))
    if row is None:
        row = ImportBudget(workspace_id=workspace.id, month=month, used=0)
        db.session.add(row)
    limit = workspace.plan.imports_per_month
    if row.used + wanted > limit:
        raise OverQuota(
            f"The plan allows {limit} imported images a month, and {row.used} are used; {wanted} more are too many.",
            details={"limit": "importsPerMonth", "max": limit, "used": row.used, "requested": wanted},
        )
    row.used += wanted
    db.session.flush()


def _release(workspace: Workspace, month: str, count: int = 1) -> None:
    lock(workspace)
    row = db.session.scalar(_budget_of(workspace.id, month).execution_options(populate_existing=True))
    if row:
        row.used = max(0, row.used - count)


def _fail(item: ImportItem, code: str, message: str) -> None:
    item.state, item.next_at, item.fetching_until = FAILED, None, None
    item.code, item.message = code, message[:300]


def _budget_of(workspace_id: int, month: str):  # type: ignore[no-untyped-def]
    return select(ImportBudget).where(ImportBudget.workspace_id == workspace_id, ImportBudget.month == month)


def _states(job: ImportJob):  # type: ignore[no-untyped-def]
    return (
        select(ImportItem.state, func.count().label("count"))
        .where(ImportItem.job_id == job.id)
        .group_by(ImportItem.state)
    )
