"""Multipart forms whose files are spooled to disk. The files have no name, so nothing remains if the process dies."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flask import Request
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from portal import config
from portal.db import release
from portal.errors import DiskFull, Invalid
from portal.infra import disk_space

MULTIPART = "multipart/form-data"
MAX_PARTS = 200  # fields and files; surplus files are still read, so that the error can say how many there were
MAX_FIELD_BYTES = 256 * 1024  # all fields together
ROOM_FOR_HEADERS = 64 * 1024  # boundaries, names and types of the parts


class FileTooLarge(RequestEntityTooLarge):
    """A single file exceeds its limit; RequestEntityTooLarge itself means the whole form does."""


class SpooledFile:
    """A form's file, on disk without a name, so that the operating system frees it when the process ends."""

    def __init__(self, max_bytes: int, file_name: str) -> None:
        self.field, self.file_name, self.size_bytes = "", file_name, 0
        self.sha256 = hashlib.sha256()
        self._max_bytes = max_bytes
        self._file: io.FileIO | None = None  # opened at the first byte: an empty part needs no file descriptor

    @property
    def is_sent(self) -> bool:
        """Return False for the empty part that a browser sends for a file input without a file."""
        return bool(self.file_name or self.size_bytes)

    def write(self, data: bytes) -> int:
        """Store up to the limit, then only count, so that the rest of the form can still be parsed."""
        self.size_bytes += len(data)
        if self.size_bytes <= self._max_bytes:
            self.sha256.update(data)
            self._keep(data)
        return len(data)

    def seek(self, position: int) -> None:
        """Do nothing: the parser rewinds each file, but `read` doesn't use the position."""

    def read(self) -> bytes:
        """Return all bytes. May be called from any thread, any number of times."""
        return os.pread(self._file.fileno(), self.size_bytes, 0) if self._file else b""

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _keep(self, data: bytes) -> None:
        if self._file is None:
            disk_space.demand_room(config.settings())
            self._file = tempfile.TemporaryFile(buffering=0, dir=spool_folder())  # noqa: SIM115  (close() is the form's)
        rest = memoryview(data)
        while rest:  # on a disk that fills up, write() stores a part and raises nothing
            rest = rest[self._file.write(rest) :]


class _Parser(MultiPartParser):
    """Werkzeug's parser, which would replace invalid UTF-8; decoding as Latin-1 preserves every byte."""

    def get_part_charset(self, headers: Headers) -> str:
        return "iso-8859-1"


class _Counted:
    """A stream that counts its bytes: the parser can't tell a truncated body from a complete one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.size_bytes = stream, 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size_bytes += len(data)
        return data


@dataclass(frozen=True)
class Form:
    """A parsed form: fields by name, and files in the order sent."""

    fields: MultiDict[str, str]
    files: list[SpooledFile]

    def digest(self) -> bytes:
        """Return a hash of the fields and files that doesn't depend on the boundary, which differs in each request."""
        hashed = hashlib.sha256()
        for name, text in self.fields.items(multi=True):
            hashed.update(repr((name, text)).encode())
        for file in self.files:
            hashed.update(repr((file.field, file.file_name, file.sha256.hexdigest())).encode())
        return hashed.digest()


@contextmanager
def spooled(request: Request, *, max_files: int, max_file_bytes: int) -> Iterator[Form]:
    """Parse a multipart request; its files exist until the block ends.

    Empty file inputs are ignored. Raises BadRequest, Invalid (too many files), FileTooLarge, RequestEntityTooLarge
    (the whole form), and DiskFull.
    """
    files: list[SpooledFile] = []

    def open_file(filename: str | None = None, **_: Any) -> Any:
        is_over = sum(file.is_sent for file in files) >= max_files
        files.append(SpooledFile(0 if is_over else max_file_bytes, _plain(filename or "")))
        return files[-1]

    request.max_content_length = max_bytes(max_files, max_file_bytes)
    release()  # no transaction stays open while files are written
    try:
        fields, sent = _parsed(request, open_file)
        yield Form(fields, _checked(sent, max_files, max_file_bytes))
    finally:
        for file in files:
            file.close()


def _parsed(request: Request, open_file: Any) -> tuple[MultiDict[str, str], list[FileStorage]]:
    parser = _Parser(
        stream_factory=open_file,
        max_form_memory_size=MAX_FIELD_BYTES,
        max_form_parts=MAX_PARTS,
        buffer_size=64 * 1024,
    )
    boundary = request.mimetype_params.get("boundary", "").encode("ascii", "replace")
    if not boundary:
        raise BadRequest("The Content-Type of the multipart form has no boundary.")
    try:
        stream = _Counted(request.stream)
        fields, files = parser.parse(stream, boundary, request.content_length)  # type: ignore[arg-type]
        if request.content_length not in (None, stream.size_bytes):
            raise BadRequest("The request body was truncated.")
        texts = [(name, text.encode("iso-8859-1").decode()) for name, text in fields.items(multi=True)]
    except HTTPException:
        raise
    except UnicodeDecodeError as error:
        raise BadRequest("The form's fields must be UTF-8.") from error
    except ValueError as error:
        raise BadRequest("The form is truncated, or not a multipart form.") from error
    except OSError as error:
        if error.errno not in disk_space.FULL_ERRORS:
            raise
        raise DiskFull from error
    return MultiDict(texts), [file for _, file in files.items(multi=True)]


def _checked(sent: list[FileStorage], max_files: int, max_file_bytes: int) -> list[SpooledFile]:
    files = []
    for part in sent:
        file: SpooledFile = part.stream  # type: ignore[assignment]
        file.field = part.name or ""
        if file.is_sent:
            files.append(file)
    if len(files) > max_files:
        raise Invalid(f"Maximum {max_files} files total; there are {len(files)}.", code="too_many_files")
    if any(file.size_bytes > max_file_bytes for file in files):
        raise FileTooLarge
    return files


def max_bytes(max_files: int, max_file_bytes: int) -> int:
    """Return the largest size of a form."""
    return max_files * max_file_bytes + MAX_FIELD_BYTES + ROOM_FOR_HEADERS


def spool_folder() -> Path:
    """Return the spool folder. It is in DATA_DIR because many systems keep /tmp in memory."""
    folder = config.settings().data_dir / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _plain(name: str) -> str:
    """Return a file name that can be stored, without the path that old browsers send."""
    name = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    return name.encode("utf-8", "ignore").decode()[:255]
