"""Exponential backoff for restarting processes that die."""

import time

FIRST_S, LONGEST_S = 0.5, 8.0
STABLE_AFTER_S = 10  # a process that ran this long restarts after the first pause


class Backoff:
    """A pause that doubles with each death, and resets once a process ran for STABLE_AFTER_S."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._pause_s, self._longest_s = FIRST_S, longest_s
        self._started_at = time.monotonic()

    def started(self) -> None:
        self._started_at = time.monotonic()

    def died(self) -> float:
        """Return the seconds to wait before the restart."""
        if time.monotonic() - self._started_at > STABLE_AFTER_S:
            self._pause_s = FIRST_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, self._longest_s)
        return pause_s
