"""A circuit breaker: while a server doesn't answer, calls to it fail immediately instead of waiting for a time-out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Attempt(NamedTuple):
    """A call that is under way, or one of its attempts."""

    began_at: float  # on the monotonic clock
    is_probe: bool  # it tests whether the server is back


class Breaker:
    """While closed, calls pass. `threshold` failures in a row open it for `open_for_s`; then one call is the probe.

    A failure counts only if nothing has been answered since it began, so one slow object doesn't cut off the others.
    There is no lock, since a process may be forked at any time: a race costs at most one more call to the server.
    """

    def __init__(
        self,
        failures: tuple[type[Exception], ...],
        when_open: Callable[[], Exception],
        *,
        threshold: int,
        open_for_s: float,
    ) -> None:
        self.failures, self.threshold, self.open_for_s = failures, threshold, open_for_s
        self._when_open = when_open
        self._answered_at = 0.0
        self._failed_in_a_row = 0
        self._half_open_at = 0.0  # 0: closed

    @property
    def is_open(self) -> bool:
        """Whether calls fail immediately."""
        return self._half_open_at > time.monotonic()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Guard the calls inside the block. Raises `when_open()`, immediately, while the breaker is open."""
        attempt = self.begin()
        try:
            yield
        except self.failures:
            self.failed(attempt)
            raise
        except Exception:  # the server refused something, so it answered
            self.close()
            raise
        self.close()

    def begin(self) -> Attempt:
        """Report the beginning of an attempt; `failed` or `close` report its end. Raises `when_open()`."""
        now = time.monotonic()
        if self._half_open_at > now:
            raise self._when_open()
        is_probe = self._half_open_at > 0
        if is_probe:
            self._half_open_at = now + self.open_for_s  # all other calls still fail
        return Attempt(now, is_probe)

    def failed(self, attempt: Attempt) -> None:
        """Report an attempt without an answer."""
        if attempt.began_at < self._answered_at or (self._half_open_at and not attempt.is_probe):
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self.threshold:
            self._half_open_at = time.monotonic() + self.open_for_s

    def close(self) -> None:
        """Let calls pass: after an answer, even one that reports an error, and when a new client is connected."""
        self._answered_at, self._failed_in_a_row, self._half_open_at = time.monotonic(), 0, 0.0
