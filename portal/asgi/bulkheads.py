"""Threads in separate pools, so that requests which wait for one dependency don't take the threads of the others."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Overloaded(Exception):
    """All threads are busy, and as many requests as may wait are waiting."""


class Bulkhead:
    """A pool of threads. What finds no free one waits in the event loop, first come, first served.

    A waiting request whose client disconnects is cancelled, and never takes a thread.
    """

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = asyncio.Semaphore(threads)
        self._waiting, self._max_waiting = 0, max_waiting

    async def acquire(self) -> None:
        """Wait for a thread. The caller starts something in it, or releases it. Raises Overloaded."""
        if self._waiting >= self._max_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def start(self, run: Callable[[], None]) -> None:
        """Run something in the acquired thread; whoever ends it calls `release` in the event loop."""
        try:
            self._threads.submit(run)
        except BaseException:  # no more threads can be started
            self.release()
            raise

    def release(self) -> None:
        self._free.release()
