"""Request bodies, read by the event loop before the WSGI app is called: in memory, then in a temporary file.

The app gets a body that is complete, or one whose reading raises an error: it was too long, or the disk is full. So the
answer has the form that the route's clients expect.
"""

import asyncio
import re
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, RawIOBase
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import IO, Any, cast

from werkzeug.exceptions import RequestEntityTooLarge

from portal.asgi.bulkheads import Overloaded
from portal.errors import DiskFull

STALL_S = 30.0  # within this time, a body must progress by PROGRESS_BYTES, or end
PROGRESS_BYTES = 4 * 1024
MEMORY_BYTES = 64 * 1024  # of each body; a confirm-batch of 20 with the longest alt texts is 60 kB
FORM_PATHS = re.compile(r"/api/properties/|/properties/[^/]+/photos/upload$")  # forms with photos
Receive = Callable[[], Any]


class Stalled(Exception):
    """The client stopped sending, or sends too slowly."""


class Disconnected(Exception):
    """The client disconnected before the end of the body."""


class Quota:
    """A number of bytes that may be on disk."""

    def __init__(self, max_bytes: int) -> None:
        self._left, self._lock = max_bytes, Lock()

    def take(self, size_bytes: int) -> None:
        """Raises Overloaded if there are not as many left."""
        with self._lock:
            if size_bytes > self._left:
                raise Overloaded
            self._left -= size_bytes


class Body(SpooledTemporaryFile[bytes]):
    """A body: the first MEMORY_BYTES in memory; a larger one on disk, without a name, until it is closed."""

    def __init__(self, folder: Path, quota: Quota) -> None:
        super().__init__(MEMORY_BYTES, dir=str(folder))
        self._quota, self._stored_bytes, self.size_bytes = quota, 0, 0
        self._lock = Lock()  # a body may be given up while a thread still writes to it

    def will_be_stored(self, data: bytes) -> bool:
        return self.size_bytes + len(data) > MEMORY_BYTES

    def append(self, data: bytes) -> None:
        """Raises Overloaded, and OSError if the disk is full."""
        with self._lock:
            if self.closed:
                return
            if self.will_be_stored(data):
                grown = self.size_bytes + len(data) - self._stored_bytes
                self._quota.take(grown)
                self._stored_bytes += grown
            self.size_bytes += len(data)
            self.write(data)

    def close(self) -> None:
        with self._lock:
            self._quota.take(-self._stored_bytes)
            self._stored_bytes = 0
            super().close()


class Bodies:
    """Reads bodies. `max_bytes` is for each, `max_form_bytes` for each form with photos, `quota` for all on disk."""

    def __init__(self, folder: Path, *, max_bytes: int, max_form_bytes: int, quota: Quota) -> None:
        self._folder, self._max_bytes, self._max_form_bytes, self._quota = folder, max_bytes, max_form_bytes, quota
        self._disk = ThreadPoolExecutor(2, thread_name_prefix="bodies")  # a busy disk must not stop the event loop

    async def read(self, scope: Any, path: str, receive: Receive) -> IO[bytes]:
        """Return a request's body as a file, which the caller closes. Raises Stalled, Disconnected and Overloaded."""
        headers = dict(scope["headers"])
        length = int(headers.get(b"content-length", 0))
        if not length and b"transfer-encoding" not in headers:
            return BytesIO()
        is_form = headers.get(b"content-type", b"").startswith(b"multipart/") and FORM_PATHS.match(path)
        most = self._max_form_bytes if is_form else self._max_bytes
        if length > most:
            return _failing(RequestEntityTooLarge())
        body = Body(self._folder, self._quota)
        try:
            await self._receive(body, most, receive)
            body.seek(0)
            return cast(IO[bytes], body)
        except BaseException as error:
            body.close()
            if isinstance(error, RequestEntityTooLarge):
                return _failing(error)
            if isinstance(error, OSError):
                return _failing(DiskFull())
            raise

    async def _receive(self, body: Body, most: int, receive: Receive) -> None:
        loop, progress, has_more = asyncio.get_running_loop(), 0, True
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
                        limit.reschedule(loop.time() + STALL_S)
        except TimeoutError:
            raise Stalled from None

    async def _append(self, body: Body, data: bytes, loop: AbstractEventLoop) -> None:
        if body.will_be_stored(data):
            await loop.run_in_executor(self._disk, body.append, data)
        else:
            body.append(data)


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
