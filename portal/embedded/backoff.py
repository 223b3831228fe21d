"""How long to wait before something that died is started again."""

import time

FIRST_S, LONGEST_S = 0.5, 8.0
LIVED_S = 10  # what has lived so long starts again after the first pause


class Backoff:
    """A pause that doubles with each death, until a life was long enough."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._pause_s, self._longest_s = FIRST_S, longest_s
        self._born_at = time.monotonic()

    def started(self) -> None:
        self._born_at = time.monotonic()

    def died(self) -> float:
        """Return how many seconds to wait now."""
        if time.monotonic() - self._born_at > LIVED_S:
            self._pause_s = FIRST_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, self._longest_s)
        return pause_s
