"""Multipart forms whose files go to disk, not to memory. Nothing is left of them, whatever becomes of the process."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from portal.errors import Invalid, StorageFailed

MULTIPART = "multipart/form-data"
MAX_FIELDS = 100  # a form's, beside its files
MAX_FIELD_BYTES = 256 * 1024  # all of them together
ROOM_FOR_HEADERS = 64 * 1024  # boundaries, names and types of the parts


class SpooledFile:
    """A file of a form, on disk under no name: the system forgets it with the process that holds it."""

    def __init__(self, max_bytes: int) -> None:
        self.field, self.file_name, self.size_bytes = "", "", 0
        self.sha256 = hashlib.sha256()
        self._max_bytes = max_bytes
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (close() is the form's)

    def write(self, data: bytes) -> int:
        """Keep what comes, and only count what is too much: the rest of the form is still to be read."""
        self.size_bytes += len(data)
        if self.size_bytes <= self._max_bytes:
            self.sha256.update(data)
            left = memoryview(data)
            while left:  # a disk that is nearly full takes a part, and says no to the next
                left = left[self._file.write(left) :]
        return len(data)

    def seek(self, position: int) -> None:
        """What the parser does at the end of a part: nothing to us, who read by position."""

    def read(self) -> bytes:
        """All of it; any thread may ask, any number of times."""
        return os.pread(self._file.fileno(), self.size_bytes, 0)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Form:
    """What was sent: texts by name, and files in their order."""

    fields: MultiDict[str, str]
    files: list[SpooledFile]

    def digest(self) -> bytes:
        """The same for the same texts and files: the boundary between them is another one in each request."""
        said = hashlib.sha256()
        for name, text in self.fields.items(multi=True):
            said.update(repr((name, text)).encode())
        for file in self.files:
            said.update(repr((file.field, file.file_name, file.sha256.hexdigest())).encode())
        return said.digest()


@contextmanager
def spooled(request: Request, *, max_files: int, max_file_bytes: int) -> Iterator[Form]:
    """Read a multipart request; its files are there while the block lasts.

    A file input that was left empty is no file. Raises BadRequest, Invalid (too many files),
    RequestEntityTooLarge, and StorageFailed where the disk is full.
    """
    files: list[SpooledFile] = []

    def open_file(**_: Any) -> Any:
        files.append(SpooledFile(max_file_bytes if len(files) < max_files else 0))
        return files[-1]

    request.max_content_length = max_files * max_file_bytes + MAX_FIELD_BYTES + ROOM_FOR_HEADERS
    try:
        fields, sent = _parsed(request, open_file)
        yield Form(fields, _checked(sent, max_files, max_file_bytes))
    finally:
        for file in files:
            file.close()


def _parsed(request: Request, open_file: Any) -> tuple[MultiDict[str, str], list[FileStorage]]:
    parser = MultiPartParser(
        stream_factory=open_file,
        max_form_memory_size=MAX_FIELD_BYTES,
        max_form_parts=MAX_FIELDS + 100,  # counted when they are read: more files than we take are told so
        buffer_size=64 * 1024,
    )
    boundary = request.mimetype_params.get("boundary", "").encode("ascii", "replace")
    if not boundary:
        raise BadRequest("A multipart form names its boundary.")
    try:
        fields, files = parser.parse(request.stream, boundary, request.content_length)
    except HTTPException:
        raise
    except ValueError as error:
        raise BadRequest("The form broke off, or is no multipart form.") from error
    except OSError as error:
        raise StorageFailed("There is no room for these files here.", details=str(error)) from error
    return fields, [file for _, file in files.items(multi=True)]


def _checked(sent: list[FileStorage], max_files: int, max_file_bytes: int) -> list[SpooledFile]:
    """Give each file its names; what a browser sends for an empty file input is none."""
    files = []
    for part in sent:
        file: SpooledFile = part.stream  # type: ignore[assignment]
        file.field, file.file_name = part.name or "", part.filename or ""
        if file.file_name or file.size_bytes:
            files.append(file)
    if len(files) > max_files:
        raise Invalid(f"Maximum {max_files} files total; there are {len(files)}.", code="too_many_files")
    if any(file.size_bytes > max_file_bytes for file in files):
        raise RequestEntityTooLarge()
    return files
