"""Exponential backoff for restarting processes that die."""

import time

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 8.0
STABLE_AFTER_S = 10  # a process that ran this long restarts after the first pause


class Backoff:
    """A pause that doubles with each death, and resets once a process ran for STABLE_AFTER_S."""

    def __init__(self, max_pause_s: float = MAX_PAUSE_S) -> None:
        self._pause_s, self._max_pause_s = FIRST_PAUSE_S, max_pause_s
        self._started_at = time.monotonic()

    def started(self) -> None:
        self._started_at = time.monotonic()

    def died(self) -> float:
        """Return the seconds to wait before the restart."""
        if time.monotonic() - self._started_at > STABLE_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, self._max_pause_s)
        return pause_s
