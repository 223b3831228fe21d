"""What every kind of job has in common: its states, how it is shown, counted and searched for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVarTuple

from sqlalchemy import ColumnElement, Select, and_, case, extract, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.db import NO_UUID, as_uuid, db
from portal.images.models import FAILED, Image, ImportJob
from portal.listings.models import IntegrationAccount, Listing
from portal.webhooks.models import Delivery

RUNNING, WAITING, DONE = "running", "waiting", "done"  # beside FAILED, the states a job is shown in
STATES = (RUNNING, WAITING, FAILED, DONE)
PHOTO, IMPORT, LISTING, SYNC, WEBHOOK = "photos", "imports", "listings", "syncs", "webhooks"
KINDS = (PHOTO, IMPORT, LISTING, SYNC, WEBHOOK)
DONE_SINCE = timedelta(hours=24)
CONCERNS_FOR = timedelta(days=7)  # a link or a call that failed is nobody's business for ever; a photo is
MAX_WORDS = 8  # of a search

Columns = TypeVarTuple("Columns")


class Job(NamedTuple):
    """A row that is work to do, or was: a photo's variants, an import, a listing's copies, a sync, a delivery."""

    kind: str
    state: str
    row: Image | ImportJob | Listing | IntegrationAccount | Delivery

    @property
    def at(self) -> datetime:
        return self.row.created_at


class Counts(NamedTuple):
    """How many jobs of a workspace are in which state; `done` counts those of the last 24 hours."""

    running: int
    waiting: int
    failed: int
    done: int


class Cause(NamedTuple):
    """What failed for the same reason at the same place: a host's links, a webhook's calls, or just photos.

    `jobs` counts what failed: photos, links, a listing's pictures, syncs, calls.
    """

    kind: str
    reason: str
    place: str
    jobs: int
    may_run: bool = True  # False: its webhook is switched off


def matching(
    found: Select[*Columns],
    search: str,
    ids: Sequence[Any],
    texts: Sequence[Any],
) -> Select[*Columns]:
    """Each word must stand in one of the texts; a public id finds its row whatever stands there."""
    uuid = as_uuid(search.strip())
    if uuid != NO_UUID:
        return found.where(or_(*(column == uuid for column in ids)))
    for word in search.split()[:MAX_WORDS]:
        found = found.where(or_(*(text.icontains(word, autoescape=True) for text in texts)))
    return found


def in_state(found: Select[*Columns], states: dict[str, ColumnElement[bool]], state: str | None) -> Select[*Columns]:
    """Keep what is in that state; without one, what is in any."""
    return found.where(or_(*states.values()) if state is None else states[state])


def in_each(states: dict[str, ColumnElement[bool]], is_lately: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Count what is in each state, as Counts has them; of what is done only what was done lately."""
    wanted = (states[RUNNING], states[WAITING], states[FAILED], and_(states[DONE], is_lately))
    return select(*(func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in wanted))


def counted(found: Select[*tuple[Any, ...]]) -> Counts:
    return Counts(*map(int, db.session.execute(found).one()))


def in_each_minute(done_at: InstrumentedAttribute[datetime | None], since: datetime) -> Select[int, int]:
    """Count what was done in each minute of an hour; within one each minute's number comes once."""
    minute = extract("minute", done_at)
    return select(minute, func.count()).where(done_at >= since).group_by(minute)
