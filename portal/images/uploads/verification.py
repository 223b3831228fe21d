"""Verify uploaded objects: read them, inspect them, and keep the bytes under a key that clients can't write to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from portal.errors import Invalid, Problem, TooMany
from portal.images import keys
from portal.infra import storage
from portal.inventory import ORIGINAL
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.rejection import is_transient
from portal.work import Work

LARGE_BYTES = 2 * 1024 * 1024
MAX_LARGE = 4  # in memory at the same time, per process; one takes twice its size while it is inspected
WAIT_FOR_LARGE_S = 3  # whoever waits holds a thread that pages need
_large = threading.BoundedSemaphore(MAX_LARGE)


@dataclass(frozen=True)
class ExpectedFile:
    """An Upload's columns as plain values, since reading an expired row would begin the transaction too early."""

    key: str
    content_type: str
    size_bytes: int
    image_uuid: UUID | None


class RefusedFile(Invalid):
    """The file itself is not acceptable, and never will be: its upload has ended."""

    def __init__(self, code: str, message: str, index: int) -> None:
        super().__init__(message, code=code, details={"index": index})
        self.index = index


@dataclass(frozen=True)
class ReceivedFile:
    """An inspected file, stored under a key that clients can't write to."""

    original_key: str
    picture: Picture
    sha256: str


def receive(w: Work, prefix: keys.StoragePrefix, upload: ExpectedFile, index: int) -> ReceivedFile | Problem | None:
    """Read, inspect and store an uploaded file; return None if the upload was confirmed before.

    A missing object is returned as a Problem, to be raised only under the lock: a concurrent confirm may have used it.
    Raises RefusedFile for a file that is not a picture of the announced type and size, Invalid for one that may be
    accepted another time, TooMany if other large files are being checked for too long.
    """
    if upload.image_uuid:
        return None
    with _room_for(upload.size_bytes):
        data = _read(upload, index)
        if isinstance(data, Problem):
            return data
        try:
            picture = inspect(data)
        except Invalid as error:
            raise (refused if is_transient(error) else RefusedFile)(error.code, error.message, index) from error
        if picture.type != upload.content_type:
            raise RefusedFile("content_mismatch", f"The file is {picture.type}, not {upload.content_type}.", index)
        original_key = prefix.original_key(picture.type)
        written = w.put(storage.uploads, original_key, data, picture.type, ORIGINAL)
        return ReceivedFile(original_key, picture, written.sha256)


@contextmanager
def _room_for(size_bytes: int) -> Iterator[None]:
    """Wait until so many bytes may be held in memory. Small files never wait. Raises TooMany."""
    if size_bytes <= LARGE_BYTES:
        yield
        return
    if not _large.acquire(timeout=WAIT_FOR_LARGE_S):
        raise TooMany("Too many large photos are being checked. Try again in a moment.", retry_after_s=5)
    try:
        yield
    finally:
        _large.release()


def _read(upload: ExpectedFile, index: int) -> bytes | Problem:
    """Read an object's length, type and bytes with one request, so that they match."""
    found = storage.uploads.read(upload.key, most_bytes=upload.size_bytes)
    if found is None:
        return refused("not_uploaded", "Nothing has been uploaded under this key yet.", index)
    if found.data is None or found.size_bytes != upload.size_bytes or found.type != upload.content_type:
        raise RefusedFile(
            "content_mismatch", "The uploaded file's type or size differs from what was presigned.", index
        )
    return found.data


def refused(code: str, message: str, index: int) -> Invalid:
    return Invalid(message, code=code, details={"index": index})
