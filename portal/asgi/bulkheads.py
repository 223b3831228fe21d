"""Threads in separate pools, so that requests which wait for one dependency don't take the threads of the others."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from portal.asgi.budget import Overloaded

R = TypeVar("R")


class Bulkhead:
    """A pool of threads. What finds no free one waits in the event loop, first come, first served.

    A waiting request whose client disconnects is cancelled, and never takes a thread.
    """

    def __init__(self, name: str, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = asyncio.Semaphore(threads)
        self._waiting, self._max_waiting = 0, max_waiting

    async def start(self, function: Callable[[], R]) -> Future[R]:
        """Wait for a thread and start a function in it, which keeps it until it returns. Raises Overloaded."""
        if self._waiting >= self._max_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        try:
            future = self._threads.submit(function)
        except BaseException:  # no more threads can be started
            self._free.release()
            raise
        future.add_done_callback(lambda _: self._release(loop))
        return future

    async def call(self, function: Callable[[], R]) -> R:
        """Return what a function returns, called in a thread. Raises Overloaded."""
        future = asyncio.wrap_future(await self.start(function))
        return await asyncio.shield(future)  # a caller that is cancelled does not free the thread

    def _release(self, loop: AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: this process stops
            loop.call_soon_threadsafe(self._free.release)
