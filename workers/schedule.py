"""Periodic jobs. Their schedule is kept in the memory of the schedule worker, since Redis may be flushed."""

import time
from dataclasses import dataclass
from datetime import timedelta

from portal.infra import jobs


@dataclass
class Entry:
    """A job that is enqueued every `every`, for the first time `after` the worker's start."""

    job: jobs.Job
    every: timedelta
    after: timedelta = timedelta()


SCHEDULE = (
    # Enqueues jobs that are missing for rows that have waited 3 s: after a FLUSHALL, all are back within 60 s.
    Entry(jobs.sweep(), every=timedelta(seconds=10)),
    # Once a day, but also soon after a start, for machines that are switched off at night.
    Entry(jobs.tidy(), every=timedelta(days=1), after=timedelta(minutes=10)),
    # Starts a walk once a day, and continues one whose next run was lost.
    Entry(jobs.audit(), every=timedelta(hours=1), after=timedelta(minutes=15)),
)


class Clock:
    """Enqueues due entries. A restart enqueues them early and two clocks twice, which every job tolerates."""

    def __init__(self, entries: tuple[Entry, ...] = SCHEDULE) -> None:
        self._due = [(time.monotonic() + entry.after.total_seconds(), entry) for entry in entries]

    def tick(self) -> None:
        """Enqueue due jobs that are not queued already. Raises redis.RedisError; the entry then stays due."""
        now_s = time.monotonic()
        for index, (due_s, entry) in enumerate(self._due):
            if due_s <= now_s:
                jobs.enqueue_missing([entry.job])
                self._due[index] = (now_s + entry.every.total_seconds(), entry)
