"""Dispatch: lease due rows fairly, perform them concurrently in threads, and record their results.

Faults are isolated: a task that raises fails alone, a task that hangs occupies only its own thread, and a result that
can't be recorded doesn't prevent others from being recorded.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import chain
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

RUN_FOR_S = 60  # then a run stops claiming, unless another run stopped less than STAGGER_S ago
STAGGER_S = 60  # longer than any call, so that two runs never wait for hanging calls at the same time
RUN_AT_MOST_S = 120  # well within the job's time limit
QUICK_S = 1  # a task that takes longer may be hanging
POLL_EVERY_S = 0.2  # for rows that became due, while no task ends
RENEW_EVERY_S = 1.5
GROUP_WITHIN_S = 0.02  # tasks that end within it are recorded together, before the next claim


def run(
    claim: Callable[[int], Iterable[Task]],
    perform: Callable[[Task], Outcome],
    record: Callable[[Results[Task, Outcome]], None],
    *,
    limits: ConcurrencyLimits,
    if_perform_raises: Outcome,
    if_record_raises: Callable[[Exception], Outcome] | None = None,
    renew: Callable[[Sequence[Task]], None] | None = None,
    group_by: Callable[[Task], Hashable] = id,
    successor: jobs.Job,
) -> int:
    """Perform the tasks that `claim(most)` leases, concurrently, until there are none; return how many.

    Only `perform` runs in threads, without the database; if it raises, `if_perform_raises` is the task's outcome.
    `group_by` and `if_record_raises` are explained in Recorder. `renew` extends the leases of unfinished tasks, every
    RENEW_EVERY_S, so that they may be short: a killed worker's tasks are soon due again. When the run's time is up,
    `successor` is enqueued immediately, so that another worker claims while this one waits for hanging calls. Re-raises
    what `claim` raised, after recording every started task.
    """
    began = time.monotonic()
    recorder = Recorder(record, group_by, if_record_raises)
    leases = _Leases(renew)
    with ThreadPoolExecutor(limits.threads) as pool:
        in_flight = _InFlight(pool, perform, if_perform_raises)
        renew_if_due = partial(leases.renew_if_due, in_flight, recorder)
        try:
            while not _is_over(began, successor):
                if (most := in_flight.free_slots(limits) - len(recorder)) > 0:
                    in_flight.submit(claim(most))
                if not (in_flight or recorder):
                    return in_flight.completed
                recorder.record(in_flight.collect(), renew_if_due)
                renew_if_due()
            _enqueue(successor)
        finally:
            release()  # ends the read transaction of a claim that failed
            while in_flight or recorder:
                recorder.record(in_flight.collect(), renew_if_due)
                renew_if_due()
    return in_flight.completed


def enqueue_missing(next_at: InstrumentedAttribute[datetime | None], job: jobs.Job) -> int:
    """Enqueue a job if rows are due and the job is neither queued nor running; return how many rows are due."""
    due = db.session.scalar(select(func.count()).where(next_at <= now())) or 0
    if due:
        jobs.enqueue_missing([job])
    return due


class _Leases(Generic[Task]):
    """Renews the leases of unfinished tasks now and then."""

    def __init__(self, renew: Callable[[Sequence[Task]], None] | None) -> None:
        self._renew, self._due = renew, time.monotonic() + RENEW_EVERY_S

    def renew_if_due(self, *unfinished: Iterable[Task]) -> None:
        if self._renew is None or time.monotonic() < self._due:
            return
        try:
            if tasks := list(chain(*unfinished)):
                self._renew(tasks)
        except Exception:
            release()
            log.warning("renewing leases failed", exc_info=True)
        self._due = time.monotonic() + RENEW_EVERY_S


class _InFlight(Generic[Task, Outcome]):
    """The tasks in flight, each in a thread of the pool."""

    def __init__(self, pool: ThreadPoolExecutor, perform: Callable[[Task], Outcome], if_raises: Outcome) -> None:
        self._pool, self._perform, self._if_raises = pool, in_this_app(perform), if_raises
        self._tasks: dict[Future[Outcome], tuple[Task, float]] = {}  # with each task's start time
        self.completed = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return (task for task, _ in self._tasks.values())

    def free_slots(self, limits: ConcurrencyLimits) -> int:
        """Return how many tasks may start now, given the free threads and the limit of quick tasks."""
        quick_since = time.monotonic() - QUICK_S
        quick = sum(began > quick_since for _, began in self._tasks.values())
        return min(limits.threads - len(self), limits.quick_tasks - quick)

    def submit(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._tasks[self._pool.submit(self._perform, task)] = (task, time.monotonic())

    def collect(self) -> list[tuple[Task, Outcome]]:
        """Wait until tasks end, or until it is time to poll for due rows; return the ended tasks and their outcomes."""
        if not self._tasks:
            time.sleep(POLL_EVERY_S)
        wait(self._tasks, timeout=POLL_EVERY_S, return_when=FIRST_COMPLETED)
        wait(self._tasks, timeout=GROUP_WITHIN_S)
        ended = [future for future in self._tasks if future.done()]
        self.completed += len(ended)
        return [(self._tasks.pop(future)[0], self._outcome(future)) for future in ended]

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except Exception:
            log.exception("task raised")
            return self._if_raises


def _is_over(began: float, successor: jobs.Job) -> bool:
    elapsed_s = time.monotonic() - began
    if elapsed_s < RUN_FOR_S:
        return False
    try:
        return jobs.is_first(f"end-of-{successor.id}", within_s=STAGGER_S) or elapsed_s >= RUN_AT_MOST_S
    except RedisError:
        return True


def _enqueue(job: jobs.Job) -> None:
    with suppress(RedisError):  # then the sweep enqueues it
        jobs.enqueue(job)
