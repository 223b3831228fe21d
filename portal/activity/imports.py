"""Imports by URL, as jobs: how far each is, counted from its items, and which links failed where."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, func, not_, select
from sqlalchemy.orm import selectinload

from portal.accounts.models import Workspace
from portal.activity.shapes import (
    CONCERNS_FOR,
    DONE,
    DONE_SINCE,
    IMPORT,
    RUNNING,
    WAITING,
    Cause,
    Columns,
    Counts,
    Job,
    counted,
    in_each,
    in_each_minute,
    in_state,
    matching,
)
from portal.db import as_uuid, db, now
from portal.images import imports
from portal.images.models import FAILED, ImportItem, ImportJob, Property

ITEMS = selectinload(ImportJob.items).lazyload(ImportItem.job)  # one statement for the items of all imports shown


def state_of(job: ImportJob, at: datetime) -> str:
    if job.completed_at is None:
        is_busy = any(item.fetching_until and item.fetching_until > at for item in job.items)
        return RUNNING if is_busy else WAITING
    return FAILED if job.completed_at > at - CONCERNS_FOR and any(map(imports.may_try, job.items)) else DONE


def page(workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
    at = now()
    found = _mine(select(ImportJob), workspace).options(ITEMS).where(ImportJob.id < before)
    a_url = select(ImportItem.url).where(ImportItem.job_id == ImportJob.id)
    url = func.coalesce(a_url.order_by(ImportItem.position).limit(1).scalar_subquery(), "")
    found = matching(found, search, [ImportJob.uuid, Property.uuid], [Property.name, url])
    rows = db.session.scalars(in_state(found, _states(at), state).order_by(ImportJob.id.desc()).limit(most))
    return [Job(IMPORT, state_of(job, at), job) for job in rows]


def find(workspace: Workspace, uuid: str) -> Job | None:
    mine = _mine(select(ImportJob), workspace).options(ITEMS).where(ImportJob.uuid == as_uuid(uuid))
    job = db.session.scalar(mine)
    return Job(IMPORT, state_of(job, now()), job) if job else None


def counts(workspace: Workspace) -> Counts:
    at = now()
    return counted(_mine(in_each(_states(at), ImportJob.completed_at > at - DONE_SINCE), workspace))


def failed(workspace: Workspace) -> Select[int]:
    return _mine(select(ImportJob.id), workspace).where(_states(now())[FAILED])


def causes(workspace: Workspace) -> list[Cause]:
    """Group links, not imports: those of one host that failed for one reason."""
    found = _failed_items(select(ImportItem.message, ImportItem.host, func.count()), workspace)
    grouped = found.group_by(ImportItem.message, ImportItem.host)
    return [Cause(IMPORT, text or "", host, number) for text, host, number in db.session.execute(grouped)]


def try_again(job: Job) -> None:
    assert isinstance(job.row, ImportJob)
    imports.try_again(job.row)


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    """Fetch failed links once more, import by import. Raises OverQuota; the imports before that one go on."""
    found = _failed_items(select(ImportItem.job_id), workspace)
    if cause:
        found = found.where(func.coalesce(ImportItem.message, "") == cause.reason, ImportItem.host == cause.place)
    for job in db.session.scalars(select(ImportJob).where(ImportJob.id.in_(found)).order_by(ImportJob.id)).all():
        imports.try_again(job, because=(cause.place, cause.reason) if cause else None)


def done_by_minute(workspace: Workspace, since: datetime) -> Select[int, int]:
    return _mine(in_each_minute(ImportJob.completed_at, since), workspace)


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    return found.join(Property, ImportJob.property_id == Property.id).where(Property.workspace_id == workspace.id)


def _failed_items(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    mine = _mine(found.join(ImportJob, ImportItem.job_id == ImportJob.id), workspace)
    return mine.where(ImportJob.completed_at > now() - CONCERNS_FOR, imports.FAILED_ITEM)


def _states(at: datetime) -> dict[str, ColumnElement[bool]]:
    its = select(ImportItem.id).where(ImportItem.job_id == ImportJob.id)
    is_busy = exists(its.where(ImportItem.fetching_until > at))
    is_open = ImportJob.completed_at.is_(None)
    has_failed = and_(ImportJob.completed_at > at - CONCERNS_FOR, exists(its.where(imports.FAILED_ITEM)))
    return {
        RUNNING: and_(is_open, is_busy),
        WAITING: and_(is_open, not_(is_busy)),
        FAILED: and_(not_(is_open), has_failed),
        DONE: and_(not_(is_open), not_(has_failed)),
    }
