"""Photos on their way to being shown: an image row is itself the job that makes its variants."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select

from portal.accounts.models import Workspace
from portal.activity.shapes import (
    DONE,
    DONE_SINCE,
    PHOTO,
    RUNNING,
    WAITING,
    Cause,
    Columns,
    Counts,
    Job,
    in_each_minute,
    in_state,
    matching,
)
from portal.db import as_uuid, db, now
from portal.images import variants
from portal.images.models import FAILED, PENDING, READY, Image, Property

IS_OPEN = Image.variants != literal_column(f"'{READY}'")  # written out, so that SQLite sees that an index has it
RUNS_AT_MOST = timedelta(seconds=120)  # the time limit of portal.jobs.make_variants; after it, it waits again


def state_of(image: Image, at: datetime) -> str:
    if image.variants == FAILED:
        return FAILED
    if image.variants == READY:
        return DONE
    return RUNNING if image.started_at and image.started_at > at - RUNS_AT_MOST else WAITING


def page(workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
    at = now()
    texts = [Image.file_name, Property.name]
    found = matching(_mine(select(Image.id), workspace), search, [Image.uuid, Property.uuid], texts)
    if state is not None:  # every photo is in one: asking which would read each row, where an index has the ids
        found = in_state(found, _states(at), state)
    found = found.where(Image.id < before)
    ids = found.order_by(Image.id.desc()).limit(most)  # ids alone are sorted 8 times as fast as rows
    rows = db.session.scalars(select(Image).where(Image.id.in_(ids)).order_by(Image.id.desc()))
    return [Job(PHOTO, state_of(image, at), image) for image in rows]


def find(workspace: Workspace, uuid: str) -> Job | None:
    image = db.session.scalar(_mine(select(Image), workspace).where(Image.uuid == as_uuid(uuid)))
    return Job(PHOTO, state_of(image, now()), image) if image else None


def counts(workspace: Workspace) -> Counts:
    """Count in one statement, each state by the index that has it: most photos were done long ago."""
    at = now()
    states = _states(at)
    states[DONE] = and_(states[DONE], Image.ready_at > at - DONE_SINCE)
    wanted = (states[RUNNING], states[WAITING], states[FAILED], states[DONE])
    sums = [_mine(select(func.count(Image.id)), workspace).where(each).scalar_subquery() for each in wanted]
    return Counts(*db.session.execute(select(*sums)).one())


def failed(workspace: Workspace) -> Select[int]:
    return _mine(select(Image.id), workspace).where(IS_OPEN, Image.variants == FAILED)


def causes(workspace: Workspace) -> list[Cause]:
    reason = func.coalesce(Image.failure_reason, "")
    found = _mine(select(reason, func.count()), workspace).where(IS_OPEN, Image.variants == FAILED)
    return [Cause(PHOTO, text, "", number) for text, number in db.session.execute(found.group_by(reason))]


def try_again(job: Job) -> None:
    assert isinstance(job.row, Image)
    variants.try_again(job.row)


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    variants.try_all_again(workspace, None if cause is None else cause.reason)


def done_by_minute(workspace: Workspace, since: datetime) -> Select[int, int]:
    return _mine(in_each_minute(Image.ready_at, since), workspace)


def file_names(workspace: Workspace, image_ids: Collection[int | str]) -> dict[int | str, str]:
    """Return the names of those images that are this workspace's; others are absent."""
    if not image_ids:
        return {}
    named = _mine(select(Image.id, Image.file_name), workspace).where(Image.id.in_(image_ids))
    return {row.id: row.file_name for row in db.session.execute(named)}


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    return found.join(Property, Image.property_id == Property.id).where(Property.workspace_id == workspace.id)


def _states(at: datetime) -> dict[str, ColumnElement[bool]]:
    started = and_(Image.started_at.is_not(None), Image.started_at > at - RUNS_AT_MOST)
    return {
        FAILED: and_(IS_OPEN, Image.variants == FAILED),
        DONE: Image.variants == READY,
        RUNNING: and_(IS_OPEN, Image.variants == PENDING, started),
        WAITING: and_(IS_OPEN, Image.variants == PENDING, ~started),
    }
