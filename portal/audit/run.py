"""A process's part of a walk: its lease, its time, and what its calls to the buckets took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from portal.audit.checks import Meter
from portal.audit.lease import LEASE, Lease
from portal.audit.models import AuditWalk
from portal.work import Work, work

PAUSE_PER_CALL_S, MAX_PAUSE_S = 4, 10  # per second of calls: a scheduled walk uses a fifth of the bucket's time


@dataclass
class Run:
    """A process's part of a walk."""

    lease: Lease
    ends_at_s: float = float("inf")  # of time.monotonic()
    on_progress: Callable[[AuditWalk], None] = lambda _: None
    meter: Meter = field(default_factory=Meter)
    paused_after_s: float = 0  # of calls
    renewed_at_s: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends_at_s

    def pause(self) -> None:
        """Leave the bucket to others after the calls since the last pause, if the walk is a scheduled one."""
        seconds, self.paused_after_s = self.meter.seconds - self.paused_after_s, self.meter.seconds
        if self.lease.is_scheduled and seconds:
            time.sleep(min(PAUSE_PER_CALL_S * seconds, MAX_PAUSE_S))

    def renew_in_time(self) -> None:
        if time.monotonic() > self.renewed_at_s + LEASE.total_seconds() / 4:
            with work():
                self.lease.renew()
            self.renewed_at_s = time.monotonic()

    @contextmanager
    def step(self) -> Iterator[tuple[AuditWalk, Work]]:
        """Commit a step of the walk with the counts of its calls, if the walk is still this process's."""
        with work() as w:
            walk = self.lease.renew()
            yield walk, w
            self.meter.move_to(walk)
        self.renewed_at_s = time.monotonic()
