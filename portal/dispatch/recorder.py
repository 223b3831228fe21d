"""What came of tasks is recorded: together where that works, each by itself where it doesn't, and again in a moment."""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError

from portal.db import release
from portal.dispatch.limits import Candidate
from portal.errors import StorageFailed

log = logging.getLogger(__name__)

AGAIN_AFTER_S = (0.2, 1.0, 5.0)  # well within every lease
HANGS_S = 2.0  # what takes so long to fail is not asked again: all other results wait for it
TRANSIENT = (DBAPIError, StorageFailed)  # a database that is locked or fails over, a bucket that is away


class Leased(Protocol):
    """A row as plain values, leased to this worker: it is performed in a thread, without the database."""

    @property
    def candidate(self) -> Candidate: ...


Task = TypeVar("Task", bound=Leased)
Outcome = TypeVar("Outcome")
Results = Sequence[tuple[Task, Outcome]]


class _Failed(NamedTuple, Generic[Task, Outcome]):
    """A result that could not be recorded: how often, and when to try again."""

    task: Task
    outcome: Outcome
    failures: int
    again_at: float


class Recorder(Generic[Task, Outcome]):
    """Keeps what can't be recorded now for another try: a finished download is not to be thrown away.

    Results whose tasks are the same to `together` are recorded in one change. Where that fails for good, what
    `instead` makes of the error is recorded in their stead; without it the row is due again when its lease ends.
    """

    def __init__(
        self,
        record: Callable[[Results[Task, Outcome]], None],
        together: Callable[[Task], Hashable],
        instead: Callable[[Exception], Outcome] | None,
    ) -> None:
        self._record, self._together, self._instead = record, together, instead
        self._failed: list[_Failed[Task, Outcome]] = []

    def __len__(self) -> int:
        """How many wait to be tried again."""
        return len(self._failed)

    def record(self, results: Results[Task, Outcome]) -> None:
        """Record results, and those whose next try is due. Raises nothing: what fails is logged."""
        groups: dict[Hashable, list[tuple[Task, Outcome]]] = {}
        for result in results:
            groups.setdefault(self._together(result[0]), []).append(result)
        for group in groups.values():
            self._record_group(group)
        failed, self._failed = self._failed, []
        for one in failed:
            if one.again_at > time.monotonic():
                self._failed.append(one)
            else:
                self._record_one(one.task, one.outcome, one.failures)

    def _record_group(self, results: Results[Task, Outcome]) -> None:
        """Record them in one change; where it fails, each in one of its own, as a single row may be to blame."""
        if len(results) > 1 and self._try(results) is None:
            return
        for task, outcome in results:
            self._record_one(task, outcome, failures=0)

    def _record_one(self, task: Task, outcome: Outcome, failures: int) -> None:
        began = time.monotonic()
        error = self._try([(task, outcome)])
        if error is None:
            return
        hangs = time.monotonic() - began > HANGS_S
        if isinstance(error, TRANSIENT) and failures < len(AGAIN_AFTER_S) and not hangs:
            again_at = time.monotonic() + AGAIN_AFTER_S[failures]
            self._failed.append(_Failed(task, outcome, failures + 1, again_at))
            return
        row = f"{type(task).__module__}, row {task.candidate.id}"
        log.error("a result can't be recorded: %s", row, exc_info=error)
        if self._instead and (worse := self._try([(task, self._instead(error))])):
            log.error("neither can that it failed: %s", row, exc_info=worse)

    def _try(self, results: Results[Task, Outcome]) -> Exception | None:
        try:
            self._record(results)
        except Exception as error:
            release()
            return error
        return None
