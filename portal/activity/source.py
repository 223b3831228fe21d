"""The common behaviour of all kinds of jobs: list, find, count, and group failures by cause."""

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


class JobSource(ABC, Generic[R]):
    """A table whose rows are jobs: their workspace, their states, and how to retry one."""

    kind: str
    row: Any  # the mapped class
    is_large = False  # if True, pages select ids first, by index: they sort 8 times as fast as rows
    ids: Sequence[Any]  # public ids that a search matches
    texts: Sequence[Any]  # texts that a search matches
    cause_columns: Sequence[Any]  # reason, destination and further fields of a Cause, in the rows of `failures`

    @abstractmethod
    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep the rows of a workspace."""

    @abstractmethod
    def states(self, at: datetime) -> States:
        """Return the condition for each state."""

    @abstractmethod
    def state_of(self, row: R, at: datetime, *more: Any) -> str:
        """Return the state of a row, as `states` does in SQL; `more` are the other columns that `rows` selects."""

    @abstractmethod
    def try_again(self, row: R) -> None:
        """Retry a failed job."""

    @abstractmethod
    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        """Retry all failed jobs, or those of one cause."""

    def done_at(self) -> InstrumentedAttribute[Any] | None:
        """Return the column with the time at which a job was done, or None if done rows are no longer jobs."""
        return None

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        """Select rows with everything that is displayed."""
        return select(self.row)

    def listed(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep the rows of a workspace that are still jobs."""
        return self.in_workspace(query, workspace)

    def failures(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep the failures of a workspace: rows, unless a row stands for many items."""
        return self._failed(query, workspace)

    def page(self, workspace: Workspace, state: str | None, search: str, before: int, limit: int) -> list[Job]:
        """Return jobs, newest first, with ids below `before`."""
        at, id = now(), self.row.id
        query: Select[*tuple[Any, ...]] = select(id) if self.is_large else self.rows(at)
        query = matching(self.listed(query, workspace), search, self.texts, self.ids)
        if state is not None:
            query = query.where(self.states(at)[state])
        elif not self.is_large:  # every row of a large table is in some state; the condition would read all rows
            query = query.where(or_(*self.states(at).values()))
        query = query.where(id < before).order_by(id.desc()).limit(limit)
        if self.is_large:
            query = self.rows(at).where(id.in_(query)).order_by(id.desc())
        return [self._job(row, at) for row in db.session.execute(query)]

    def find(self, workspace: Workspace, uuid: str) -> Job | None:
        """Return a job by the public id of its row, or None."""
        at = now()
        query = self.in_workspace(self.rows(at), workspace).where(self.row.uuid == as_uuid(uuid))
        row = db.session.execute(query).one_or_none()
        return self._job(row, at) if row else None

    def counts(self, workspace: Workspace) -> Counts:
        """Count the jobs in each state, in one statement; of the done ones only those since DONE_SINCE."""
        at = now()
        states, done_at = self.states(at), self.done_at()
        is_recent = false() if done_at is None else done_at > at - DONE_SINCE
        conditions = (states[RUNNING], states[WAITING], states[FAILED], and_(states[DONE], is_recent))
        sums = select(*(func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in conditions))
        return Counts(*map(int, db.session.execute(self.listed(sums, workspace)).one()))

    def failed(self, workspace: Workspace) -> Select[int]:
        """Select the ids of failed jobs."""
        return self._failed(select(self.row.id), workspace)

    def causes(self, workspace: Workspace) -> list[Cause]:
        """Group the failures by reason and destination."""
        query = self.failures(select(*self.cause_columns, func.count()), workspace).group_by(*self.cause_columns)
        rows = db.session.execute(query)
        return [Cause(self.kind, reason, destination, number, *more) for reason, destination, *more, number in rows]

    def failures_with_cause(
        self, query: Select[*Columns], workspace: Workspace, cause: Cause | None = None
    ) -> Select[*Columns]:
        """Keep the failures of a workspace, or those of one cause."""
        failed = self.failures(query, workspace)
        if cause is None:
            return failed
        reason, destination, *_ = self.cause_columns
        return failed.where(reason == cause.reason, destination == cause.destination)

    def done_by_minute(self, workspace: Workspace, since: datetime) -> Select[int, int] | None:
        """Count the jobs done per minute of the hour; `since` is at most an hour ago, so no minute is ambiguous."""
        done_at = self.done_at()
        if done_at is None:
            return None
        minute = extract("minute", done_at)
        query = select(minute, func.count()).where(done_at >= since).group_by(minute)
        return self.in_workspace(query, workspace)

    def _failed(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return self.listed(query, workspace).where(self.states(now())[FAILED])

    def _job(self, row: Row[*tuple[Any, ...]], at: datetime) -> Job:
        return Job(self.kind, self.state_of(row[0], at, *row[1:]), row[0])
