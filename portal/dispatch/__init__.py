"""Dispatch: due rows are leased in fair shares, performed side by side in threads, and their results recorded.

One fault stays one fault. A task that breaks fails alone, one that hangs keeps only its own thread, and a result that
can't be recorded keeps no other from being recorded.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from typing import Generic

from redis import RedisError
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.config import in_this_app
from portal.db import db, now, release
from portal.dispatch.limits import Candidate, ConcurrencyLimits
from portal.dispatch.recorder import Outcome, Recorder, Results, Task
from portal.infra import jobs

__all__ = ["Candidate", "ConcurrencyLimits", "Results", "enqueue_missing", "run"]

log = logging.getLogger(__name__)

RUN_FOR_S = 60  # then a run claims no more, unless another one has just stopped:
ALONE_S = 60  # as long as any call takes, since both must not wait for calls that hang at the same time
RUN_AT_MOST_S = 120  # in any case: the job ends well within its time limit
QUICK_S = 1  # a task that takes longer may hang
LOOK_EVERY_S = 0.2  # for rows that became due, while no task ends
TOGETHER_S = 0.02  # what ends within it is recorded together, and followed by one look at what is due


def run(
    claim: Callable[[int], Iterable[Task]],
    perform: Callable[[Task], Outcome],
    record: Callable[[Results[Task, Outcome]], None],
    *,
    limits: ConcurrencyLimits,
    broken: Outcome,
    successor: jobs.Job,
    together: Callable[[Task], Hashable] = id,
    instead: Callable[[Exception], Outcome] | None = None,
) -> int:
    """Perform the tasks that `claim(most)` leases, side by side, until there are none; return how many.

    Only `perform` runs in threads, without the database; where our own code breaks in it, `broken` is its outcome. For
    `together` and `instead` see Recorder. When its time is up, `successor` is enqueued at once: another worker claims
    while this one waits for calls that hang. Raises what `claim` raised, once all that was begun is recorded.
    """
    began = time.monotonic()
    recorder = Recorder(record, together, instead)
    with ThreadPoolExecutor(limits.threads) as pool:
        flights = _Flights(pool, perform, broken)
        try:
            while not _is_over(began, successor):
                if (room := flights.room(limits) - len(recorder)) > 0:
                    flights.start(claim(room))
                if not (flights or recorder):
                    return flights.landed
                recorder.record(flights.land())
            _enqueue(successor)
        finally:
            release()  # what a claim that failed had begun to read
            while flights or recorder:
                recorder.record(flights.land())
    return flights.landed


def enqueue_missing(next_at: InstrumentedAttribute[datetime | None], job: jobs.Job) -> int:
    """Enqueue a job where rows are due and no queue and no worker knows of it; return how many rows are due."""
    due = db.session.scalar(select(func.count()).where(next_at <= now())) or 0
    if due:
        jobs.enqueue_missing([job])
    return due


class _Flights(Generic[Task, Outcome]):
    """The tasks in flight, each in a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, perform: Callable[[Task], Outcome], broken: Outcome) -> None:
        self._pool, self._perform, self._broken = pool, in_this_app(perform), broken
        self._tasks: dict[Future[Outcome], tuple[Task, float]] = {}  # with the moment at which each began
        self.landed = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def room(self, limits: ConcurrencyLimits) -> int:
        """Return how many may be started now: as many as there are threads, and few enough side by side."""
        hangs_since = time.monotonic() - QUICK_S
        quick = sum(began > hangs_since for _, began in self._tasks.values())
        return min(limits.threads - len(self), limits.side_by_side - quick)

    def start(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._tasks[self._pool.submit(self._perform, task)] = (task, time.monotonic())

    def land(self) -> list[tuple[Task, Outcome]]:
        """Wait until some have ended, or it is time to look for due rows again; return those with their outcomes."""
        if not self._tasks:
            time.sleep(LOOK_EVERY_S)
        wait(self._tasks, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
        wait(self._tasks, timeout=TOGETHER_S)
        ended = [future for future in self._tasks if future.done()]
        self.landed += len(ended)
        return [(self._tasks.pop(future)[0], self._outcome(future)) for future in ended]

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except Exception:
            log.exception("a task broke")
            return self._broken


def _is_over(began: float, successor: jobs.Job) -> bool:
    lasts_s = time.monotonic() - began
    if lasts_s < RUN_FOR_S:
        return False
    try:
        return jobs.is_first(f"end-of-{successor.id}", within_s=ALONE_S) or lasts_s >= RUN_AT_MOST_S
    except RedisError:
        return True


def _enqueue(job: jobs.Job) -> None:
    with suppress(RedisError):  # then the sweep does it
        jobs.enqueue(job)
