"""What all kinds of jobs do alike: they are listed, found, counted, and grouped by what they failed for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, and_, case, extract, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, DONE_SINCE, RUNNING, WAITING, Cause, Counts, Job
from portal.db import Base, as_uuid, db, now
from portal.images.models import FAILED
from portal.infra.search import matching

Columns = TypeVarTuple("Columns")
States = Mapping[str, ColumnElement[bool]]
R = TypeVar("R", bound=Base)


class Source(ABC, Generic[R]):
    """A table whose rows are jobs: whose they are, in which state, and how one is done once more."""

    kind: str
    row: Any  # the model
    is_large = False  # read by its ids first: an index has them, and they are sorted 8 times as fast as rows
    ids: Sequence[Any]  # public ones, by which a search finds a row
    texts: Sequence[Any]  # where it looks for words
    causes_by: Sequence[Any]  # why and where something failed, and what else a Cause says; of what `failures` selects

    @abstractmethod
    def mine(self, found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep the rows of a workspace."""

    @abstractmethod
    def states(self, at: datetime) -> States:
        """Return the condition for each state."""

    @abstractmethod
    def state_of(self, row: R, at: datetime, *more: Any) -> str:
        """Return the state of a row, the same as `states` for the database; `more` is what `rows` selects beside it."""

    @abstractmethod
    def try_again(self, row: R) -> None:
        """Do a failed job once more."""

    @abstractmethod
    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        """Do every failed job once more, or those of one cause."""

    def done_at(self) -> InstrumentedAttribute[Any] | None:
        """Return the column that says when a job was done; None where that is no job any more."""
        return None

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        """Select rows with all that is shown of them."""
        return select(self.row)

    def listed(self, found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep the rows of a workspace that are jobs still."""
        return self.mine(found, workspace)

    def failures(self, found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep what failed of a workspace: the rows, unless each stands for many things."""
        return self._failed(found, workspace)

    def page(self, workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
        """Return jobs, newest first, from an id on."""
        at, id = now(), self.row.id
        found: Select[*tuple[Any, ...]] = select(id) if self.is_large else self.rows(at)
        found = matching(self.listed(found, workspace), search, self.texts, self.ids)
        if state is not None:
            found = found.where(self.states(at)[state])
        elif not self.is_large:  # in a large table every row is in a state: asking which would read each
            found = found.where(or_(*self.states(at).values()))
        found = found.where(id < before).order_by(id.desc()).limit(most)
        if self.is_large:
            found = self.rows(at).where(id.in_(found)).order_by(id.desc())
        return [self._job(row, at) for row in db.session.execute(found)]

    def find(self, workspace: Workspace, uuid: str) -> Job | None:
        """Return a job by the public id of its row."""
        at = now()
        found = self.mine(self.rows(at), workspace).where(self.row.uuid == as_uuid(uuid))
        row = db.session.execute(found).one_or_none()
        return self._job(row, at) if row else None

    def counts(self, workspace: Workspace) -> Counts:
        """Count what is in each state, in one statement; of what is done only what was done lately."""
        at = now()
        states, done_at = self.states(at), self.done_at()
        is_lately = false() if done_at is None else done_at > at - DONE_SINCE
        wanted = (states[RUNNING], states[WAITING], states[FAILED], and_(states[DONE], is_lately))
        sums = select(*(func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in wanted))
        return Counts(*map(int, db.session.execute(self.listed(sums, workspace)).one()))

    def failed(self, workspace: Workspace) -> Select[int]:
        """Select the ids of jobs that failed."""
        return self._failed(select(self.row.id), workspace)

    def causes(self, workspace: Workspace) -> list[Cause]:
        """Group what failed by why and where."""
        found = self.failures(select(*self.causes_by, func.count()), workspace).group_by(*self.causes_by)
        rows = db.session.execute(found)
        return [Cause(self.kind, reason, place, number, *more) for reason, place, *more, number in rows]

    def failures_of(
        self, found: Select[*Columns], workspace: Workspace, cause: Cause | None = None
    ) -> Select[*Columns]:
        """Keep what failed of a workspace, or what failed for one cause."""
        failed = self.failures(found, workspace)
        if cause is None:
            return failed
        reason, place, *_ = self.causes_by
        return failed.where(reason == cause.reason, place == cause.place)

    def done_by_minute(self, workspace: Workspace, since: datetime) -> Select[int, int] | None:
        """Count what was done in each minute of an hour; within one each minute's number comes once."""
        done_at = self.done_at()
        if done_at is None:
            return None
        minute = extract("minute", done_at)
        found = select(minute, func.count()).where(done_at >= since).group_by(minute)
        return self.mine(found, workspace)

    def _failed(self, found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return self.listed(found, workspace).where(self.states(now())[FAILED])

    def _job(self, row: Row[*tuple[Any, ...]], at: datetime) -> Job:
        return Job(self.kind, self.state_of(row[0], at, *row[1:]), row[0])
