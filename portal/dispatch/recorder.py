"""Record the results of tasks: in groups if that works, else one by one; transient errors are retried."""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from typing import Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError

from portal.db import release
from portal.dispatch.limits import Candidate
from portal.errors import StorageFailed

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.2, 1.0, 5.0)  # leases are renewed meanwhile, or are much longer
HANG_S = 2.0  # a recording that takes this long to fail is not retried: all other results wait for it
TRANSIENT = (DBAPIError, StorageFailed)  # the database is locked or failing over, a bucket is unreachable


class LeasedRow(Protocol):
    """A row leased to this worker, as plain values, since it is performed in a thread without the database."""

    @property
    def candidate(self) -> Candidate: ...


Task = TypeVar("Task", bound=LeasedRow)
Outcome = TypeVar("Outcome")
Results = Sequence[tuple[Task, Outcome]]


class _FailedResult(NamedTuple, Generic[Task, Outcome]):
    """A result that could not be recorded yet."""

    task: Task
    outcome: Outcome
    failures: int
    retry_at: float  # on the monotonic clock


class Recorder(Generic[Task, Outcome]):
    """Keeps results that can't be recorded yet for a retry, so that no finished download is thrown away.

    Results whose tasks have equal `group_by` keys are recorded in one change. If recording a result fails for good,
    the outcome that `fallback` returns for the error is recorded; without a fallback, the row is due again when its
    lease ends.
    """

    def __init__(
        self,
        record: Callable[[Results[Task, Outcome]], None],
        group_by: Callable[[Task], Hashable],
        fallback: Callable[[Exception], Outcome] | None,
    ) -> None:
        self._record, self._group_by, self._fallback = record, group_by, fallback
        self._waiting: list[Results[Task, Outcome]] = []  # groups that are recorded next
        self._failed: list[_FailedResult[Task, Outcome]] = []

    def __len__(self) -> int:
        """Return how many results are still to be recorded."""
        return sum(map(len, self._waiting)) + len(self._failed)

    def __iter__(self) -> Iterator[Task]:
        return chain((task for group in self._waiting for task, _ in group), (result.task for result in self._failed))

    def record(self, results: Results[Task, Outcome], between: Callable[[], None]) -> None:
        """Record results, and earlier ones whose retry is due. Raises nothing: failures are logged.

        `between` is called after each recording, since one may take long.
        """
        groups: dict[Hashable, list[tuple[Task, Outcome]]] = {}
        for task, outcome in results:
            groups.setdefault(self._group_by(task), []).append((task, outcome))
        self._waiting = list(groups.values())
        while self._waiting:
            self._record_group(self._waiting.pop(0))
            between()
        for result in [result for result in self._failed if result.retry_at <= time.monotonic()]:
            self._failed.remove(result)
            self._record_one(result.task, result.outcome, result.failures)
            between()

    def _record_group(self, results: Results[Task, Outcome]) -> None:
        """Record results in one change; if that fails, one by one, as a single row may be the cause."""
        if len(results) > 1 and self._try(results) is None:
            return
        for task, outcome in results:
            self._record_one(task, outcome, failures=0)

    def _record_one(self, task: Task, outcome: Outcome, failures: int) -> None:
        began = time.monotonic()
        error = self._try([(task, outcome)])
        if error is None:
            return
        hung = time.monotonic() - began > HANG_S
        if isinstance(error, TRANSIENT) and failures < len(RETRY_DELAYS_S) and not hung:
            retry_at = time.monotonic() + RETRY_DELAYS_S[failures]
            self._failed.append(_FailedResult(task, outcome, failures + 1, retry_at))
            return
        module, row_id = type(task).__module__, task.candidate.id
        log.error("recording a result failed: module=%s row=%d", module, row_id, exc_info=error)
        if self._fallback and (second_error := self._try([(task, self._fallback(error))])):
            log.error("recording the failure failed: module=%s row=%d", module, row_id, exc_info=second_error)

    def _try(self, results: Results[Task, Outcome]) -> Exception | None:
        try:
            self._record(results)
        except Exception as error:
            release()
            return error
        return None
