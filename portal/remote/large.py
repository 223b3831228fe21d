"""Large bodies, a few at a time: whatever is fetched is held in memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import BoundedSemaphore

from portal.errors import TooMany


class LargeBodies:
    """Room for so many bodies that are larger than usual, whatever else is fetched side by side."""

    def __init__(self, at_once: int, patience_s: int) -> None:
        self._room, self._patience_s = BoundedSemaphore(at_once), patience_s

    @contextmanager
    def admitting(self) -> Iterator[Callable[[], None]]:
        """Yield an `admit` for `fetch`; what it takes is given back when the block ends.

        It waits for room, and raises TooMany where there is none within our patience.
        """
        with ExitStack() as held:

            def admit() -> None:
                if not self._room.acquire(timeout=self._patience_s):
                    raise TooMany("Too many large pictures at once.", retry_after_s=self._patience_s)
                held.callback(self._room.release)

            yield admit
