"""What runs, waits, failed and is done, read off the rows: the doorbell may forget, the rows don't."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVarTuple

from sqlalchemy import ColumnElement, Select, and_, case, exists, extract, func, or_, select

from portal.accounts.models import Workspace
from portal.db import MAX_ID, NO_UUID, as_uuid, db, now
from portal.errors import Invalid, NotFound
from portal.images.models import FAILED, PENDING, READY, Image, Property

RUNNING, WAITING, DONE = "running", "waiting", "done"  # beside FAILED, the states a job is shown in
STATES = (RUNNING, WAITING, FAILED, DONE)
RUNS_AT_MOST = timedelta(seconds=120)  # the time limit of portal.jobs.make_variants; after it, it waits again
DONE_SINCE = timedelta(hours=24)
MINUTES = 60
MAX_PAGE = 100

Columns = TypeVarTuple("Columns")


class Counts(NamedTuple):
    """How many jobs of a workspace are in which state; `done` counts those of the last 24 hours."""

    running: int
    waiting: int
    failed: int
    done: int


class Page(NamedTuple):
    """Some jobs, newest first, and where the next ones begin."""

    items: list[Image]
    next_cursor: str | None


class Reason(NamedTuple):
    """Why jobs failed, and how many."""

    text: str
    jobs: int


def state_of(image: Image, at: datetime) -> str:
    """Return which of STATES an image's job is in."""
    if image.variants == FAILED:
        return FAILED
    if image.variants == READY:
        return DONE
    return RUNNING if image.started_at and image.started_at > at - RUNS_AT_MOST else WAITING


def counts(workspace: Workspace) -> Counts:
    """Count the jobs of a workspace, in one statement."""
    at = now()
    done = and_(_is(DONE, at), Image.ready_at > at - DONE_SINCE)
    wanted = (_is(RUNNING, at), _is(WAITING, at), _is(FAILED, at), done)
    sums = [func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in wanted]
    row = db.session.execute(_mine(select(*sums), workspace)).one()
    return Counts(*map(int, row))


def has_failed(workspace: Workspace) -> bool:
    """Whether any job failed and was not tried again."""
    failed = _mine(select(Image.id), workspace).where(Image.variants == FAILED)
    return bool(db.session.scalar(select(exists(failed))))


def page(
    workspace: Workspace,
    *,
    state: str | None = None,
    search: str = "",
    after: str | None = None,
    limit: int = 30,
) -> Page:
    """Return jobs, newest first, from a cursor on. Raises Invalid for a state or cursor that is none of ours."""
    found = _matching(_mine(select(Image.id), workspace), search)
    if state is not None:
        if state not in STATES:
            raise Invalid(f"There is no such state; there are {', '.join(STATES)}.", code="state")
        found = found.where(_is(state, now()))
    if after is not None:
        found = found.where(Image.id < _position(after))
    limit = max(1, min(limit, MAX_PAGE))
    ids = found.order_by(Image.id.desc()).limit(limit + 1)  # ids alone are sorted 8 times as fast as rows
    rows = list(db.session.scalars(select(Image).where(Image.id.in_(ids)).order_by(Image.id.desc())))
    return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)


def find(workspace: Workspace, uuid: str) -> Image:
    """Return the image that a job is about. Raises NotFound; foreign equals absent."""
    image = db.session.scalar(_mine(select(Image), workspace).where(Image.uuid == as_uuid(uuid)))
    if image is None:
        raise NotFound("There is no such job.", code="job_not_found")
    return image


def reasons(workspace: Workspace) -> list[Reason]:
    """Return why jobs failed, the commonest reason first."""
    number = func.count()
    failed = _mine(select(Image.failure_reason, number), workspace).where(Image.variants == FAILED)
    grouped = failed.group_by(Image.failure_reason).order_by(number.desc(), Image.failure_reason)
    return [Reason(text or "No reason was noted.", jobs) for text, jobs in db.session.execute(grouped)]


def a_minute(workspace: Workspace) -> list[int]:
    """Return how many jobs were done in each of the last 60 minutes; the last number is this minute's."""
    this_minute = now().replace(second=0, microsecond=0)
    since = this_minute - timedelta(minutes=MINUTES - 1)
    minute = extract("minute", Image.ready_at)  # within an hour each minute comes once
    done = _mine(select(minute, func.count()), workspace).where(Image.ready_at >= since).group_by(minute)
    found = {int(number): jobs for number, jobs in db.session.execute(done)}
    return [found.get((since + timedelta(minutes=n)).minute, 0) for n in range(MINUTES)]


def file_names(workspace: Workspace, image_ids: Collection[int | str]) -> dict[int | str, str]:
    """Return the names of those images that are this workspace's; others are absent."""
    if not image_ids:
        return {}
    named = _mine(select(Image.id, Image.file_name), workspace).where(Image.id.in_(image_ids))
    return {row.id: row.file_name for row in db.session.execute(named)}


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    return found.join(Property, Image.property_id == Property.id).where(Property.workspace_id == workspace.id)


def _is(state: str, at: datetime) -> ColumnElement[bool]:
    started = and_(Image.started_at.is_not(None), Image.started_at > at - RUNS_AT_MOST)
    return {
        FAILED: Image.variants == FAILED,
        DONE: Image.variants == READY,
        RUNNING: and_(Image.variants == PENDING, started),
        WAITING: and_(Image.variants == PENDING, ~started),
    }[state]


def _matching(found: Select[int], search: str) -> Select[int]:
    """Each word must stand in the file's name or the property's; a job's id finds it too."""
    uuid = as_uuid(search.strip())
    if uuid != NO_UUID:
        return found.where(or_(Image.uuid == uuid, Property.uuid == uuid))
    for word in search.split()[:8]:
        found = found.where(
            or_(
                Image.file_name.icontains(word, autoescape=True),
                Property.name.icontains(word, autoescape=True),
            )
        )
    return found


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor[:20]) <= MAX_ID):
        raise Invalid("That cursor is not one of ours.", code="cursor")
    return int(cursor)
