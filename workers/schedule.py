"""What runs when. The clock is in the memory of the schedule worker: Redis may forget everything."""

import time
from dataclasses import dataclass
from datetime import timedelta

from portal.infra import jobs


@dataclass
class Entry:
    """A job that is rung for every `every`, at first `after` the start."""

    job: jobs.Job
    every: timedelta
    after: timedelta = timedelta()


SCHEDULE = (
    # What waits for 15 s (decision 5) is rung for within 10 s more: after a FLUSHALL all is back in 60 s.
    Entry(jobs.ring_again(), every=timedelta(seconds=10)),
    # Once a day, and soon after a start: a machine that is off at night must be tidied too.
    Entry(jobs.tidy(), every=timedelta(days=1), after=timedelta(minutes=10)),
)


class Clock:
    """Rings for what is due. A restart rings early and two clocks ring twice: each job may be repeated."""

    def __init__(self, entries: tuple[Entry, ...] = SCHEDULE) -> None:
        self._due = [(time.monotonic() + entry.after.total_seconds(), entry) for entry in entries]

    def tick(self) -> None:
        """Ring for what is due and not on its way already. Raises redis.RedisError, and is then due still."""
        now_s = time.monotonic()
        for index, (due_s, entry) in enumerate(self._due):
            if due_s <= now_s:
                jobs.enqueue_missing([entry.job])
                self._due[index] = (now_s + entry.every.total_seconds(), entry)
