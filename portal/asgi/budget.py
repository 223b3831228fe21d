"""Limits of what all requests of a process hold together."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Overloaded(Exception):
    """Requests hold as much as they may together; another one may succeed later."""


class ByteBudget:
    """A number of bytes, in memory or on disk, that requests take and give back."""

    def __init__(self, max_bytes: int) -> None:
        self._left, self._lock = max_bytes, Lock()

    def take(self, size_bytes: int) -> None:
        """Raises Overloaded if there are not as many left."""
        with self._lock:
            if size_bytes > self._left:
                raise Overloaded
            self._left -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._left += size_bytes

    @contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        """Take bytes until the block ends. Raises Overloaded."""
        self.take(size_bytes)
        try:
            yield
        finally:
            self.give_back(size_bytes)
