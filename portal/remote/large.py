"""A limit on concurrent large downloads, because they are held in memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import BoundedSemaphore

from portal.errors import TooMany


class LargeDownloads:
    """Admits at most `max_concurrent` downloads that are larger than usual."""

    def __init__(self, max_concurrent: int, patience_s: int) -> None:
        self._slots, self._patience_s = BoundedSemaphore(max_concurrent), patience_s

    @contextmanager
    def admitting(self) -> Iterator[Callable[[], None]]:
        """Yield an `admit` for `fetch`; its slot is released when the block ends.

        `admit` waits for a slot, and raises TooMany if none is free within `patience_s`.
        """
        with ExitStack() as slots:

            def admit() -> None:
                if not self._slots.acquire(timeout=self._patience_s):
                    raise TooMany("Too many large pictures are being downloaded.", retry_after_s=self._patience_s)
                slots.callback(self._slots.release)

            yield admit
