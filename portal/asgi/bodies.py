"""Request bodies, read by the event loop before the WSGI app is called: in memory, then in a temporary file.

The app gets a body that is complete, or one whose reading raises an error: it was too long, or couldn't be stored. So
the answer has the form that the route's clients expect.
"""

import asyncio
import logging
import re
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO, RawIOBase
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, Any, cast

from werkzeug.exceptions import RequestEntityTooLarge

from portal.asgi.budget import ByteBudget
from portal.errors import DiskFull, StorageFailed
from portal.infra.disk_space import FULL_ERRORS

STALL_S = 30.0  # within this time, a body must progress by PROGRESS_BYTES, or end
PROGRESS_BYTES = 4 * 1024
LEAST_BYTES_PER_S = 20_000  # on average, after the first STALL_S
MEMORY_BYTES = 64 * 1024  # of each body; a confirm-batch of 20 with the longest alt texts is 60 kB
FORM_PATHS = re.compile(r"/api/properties/|/properties/[^/]+/photos/upload$")  # forms with photos
NOT_STORED = "The server can’t store the request. Nothing was changed. Try again later."
Receive = Callable[[], Any]

log = logging.getLogger(__name__)


class Stalled(Exception):
    """The client stopped sending, or sends too slowly."""


class Disconnected(Exception):
    """The client disconnected before the end of the body."""


class Body(SpooledTemporaryFile[bytes]):
    """A body: the first MEMORY_BYTES in memory; a larger one on disk, without a name, until it is closed."""

    def __init__(self, folder: Path, budget: ByteBudget, demand_room: Callable[[], None]) -> None:
        super().__init__(MEMORY_BYTES, dir=str(folder))
        self._budget, self._demand_room = budget, demand_room
        self._stored_bytes = self.size_bytes = 0
        self._lock = Lock()  # a body may be given up while a thread still writes to it

    def will_be_stored(self, data: bytes) -> bool:
        return self.size_bytes + len(data) > MEMORY_BYTES

    def append(self, data: bytes) -> None:
        """Raises Overloaded, DiskFull, and OSError."""
        with self._lock:
            if self.closed:
                return
            if self.will_be_stored(data):
                grown = self.size_bytes + len(data) - self._stored_bytes
                self._demand_room()
                self._budget.take(grown)
                self._stored_bytes += grown
            self.size_bytes += len(data)
            self.write(data)

    def close(self) -> None:
        with self._lock:
            self._budget.give_back(self._stored_bytes)
            self._stored_bytes = 0
            with suppress(OSError):  # it flushes what a full disk refused, and nobody reads that any more
                super().close()


class Bodies:
    """Reads bodies. `max_bytes` is for each, `max_form_bytes` for each form with photos, `budget` for all on disk.

    `demand_room` raises DiskFull.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_form_bytes: int,
        budget: ByteBudget,
        demand_room: Callable[[], None],
    ) -> None:
        self._max_bytes, self._max_form_bytes = max_bytes, max_form_bytes
        self._new_body = partial(Body, folder, budget, demand_room)
        self._disk = ThreadPoolExecutor(2, thread_name_prefix="bodies")  # a busy disk must not stop the event loop

    async def read(self, scope: Any, path: str, receive: Receive) -> IO[bytes]:
        """Return a request's body as a file, which the caller closes. Raises Stalled, Disconnected and Overloaded."""
        headers = dict(scope["headers"])
        length = int(headers.get(b"content-length", 0))
        if not length and b"transfer-encoding" not in headers:
            return BytesIO()
        most = self._max_form_bytes if _may_have_photos(headers, path) else self._max_bytes
        if length > most:
            return _failing(RequestEntityTooLarge())
        body = self._new_body()
        try:
            await self._receive(body, most, receive)
            body.seek(0)
            return cast(IO[bytes], body)
        except BaseException as error:
            body.close()
            if isinstance(error, (RequestEntityTooLarge, DiskFull)):
                return _failing(error)
            if isinstance(error, OSError):
                log.warning("a request body could not be stored: %s", error)
                return _failing(DiskFull() if error.errno in FULL_ERRORS else StorageFailed(NOT_STORED))
            raise

    async def _receive(self, body: Body, most: int, receive: Receive) -> None:
        loop, progress, has_more = asyncio.get_running_loop(), 0, True
        begun = loop.time()
        try:
            async with asyncio.timeout(STALL_S) as limit:
                while has_more:
                    message = await receive()
                    if limit.expired():  # wait_for, which gunicorn uses, swallows a cancellation before Python 3.12
                        raise Stalled
                    if message["type"] != "http.request":
                        raise Disconnected
                    data, has_more = message["body"], message["more_body"]
                    if body.size_bytes + len(data) > most:
                        raise RequestEntityTooLarge
                    await self._append(body, data, loop)
                    progress += len(data)
                    if progress >= PROGRESS_BYTES:
                        progress = 0
                        limit.reschedule(min(loop.time(), begun + body.size_bytes / LEAST_BYTES_PER_S) + STALL_S)
        except TimeoutError:
            raise Stalled from None

    async def _append(self, body: Body, data: bytes, loop: AbstractEventLoop) -> None:
        if body.will_be_stored(data):
            await loop.run_in_executor(self._disk, body.append, data)
        else:
            body.append(data)


def _may_have_photos(headers: dict[bytes, bytes], path: str) -> bool:
    """Return whether a body may be as large as a form with photos; what names nobody is refused by the app anyway."""
    is_form = headers.get(b"content-type", b"").startswith(b"multipart/") and FORM_PATHS.match(path)
    return bool(is_form) and (b"authorization" in headers or b"cookie" in headers)


def _failing(error: Exception) -> IO[bytes]:
    return cast(IO[bytes], _Failing(error))


class _Failing(RawIOBase):
    """A body whose reading raises an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        raise self._error
