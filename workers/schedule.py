"""What runs when. The clock is in the memory of the schedule worker: Redis may forget everything."""

import time
from dataclasses import dataclass
from datetime import timedelta

from portal.infra import jobs


@dataclass
class Entry:
    """A job that is enqueued every `every`, at first `after` the start."""

    job: jobs.Job
    every: timedelta
    after: timedelta = timedelta()


SCHEDULE = (
    # What has waited for 15 s is enqueued within 10 s more: after a FLUSHALL everything is back within 60 s.
    Entry(jobs.sweep(), every=timedelta(seconds=10)),
    # Once a day, and soon after a start: a machine that is off at night must be tidied too.
    Entry(jobs.tidy(), every=timedelta(days=1), after=timedelta(minutes=10)),
)


class Clock:
    """Enqueues what is due. A restart enqueues early and two clocks twice: each job may be repeated."""

    def __init__(self, entries: tuple[Entry, ...] = SCHEDULE) -> None:
        self._due = [(time.monotonic() + entry.after.total_seconds(), entry) for entry in entries]

    def tick(self) -> None:
        """Enqueue what is due and not on its way already. Raises redis.RedisError, and is then still due."""
        now_s = time.monotonic()
        for index, (due_s, entry) in enumerate(self._due):
            if due_s <= now_s:
                jobs.enqueue_missing([entry.job])
                self._due[index] = (now_s + entry.every.total_seconds(), entry)
