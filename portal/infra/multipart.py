"""Multipart forms whose files go to disk, not to memory. Nothing is left of them, whatever becomes of the process."""

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
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData, ParseException
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from portal import config
from portal.db import release
from portal.errors import Invalid, StorageFailed

BROKEN_BODY = (ParseException, InvalidChunkSize, ChunkMissingTerminator, NoMoreData)  # what gunicorn finds as we read
MULTIPART = "multipart/form-data"
MAX_PARTS = 200  # texts and files; more files than we take are read all the same, so that their number can be told
MAX_FIELD_BYTES = 256 * 1024  # all of them together
ROOM_FOR_HEADERS = 64 * 1024  # boundaries, names and types of the parts


class FileTooLarge(RequestEntityTooLarge):
    """One of the files is; all of them together would have been taken."""


class SpooledFile:
    """A file of a form, on disk under no name: the system forgets it with the process that holds it."""

    def __init__(self, max_bytes: int, file_name: str) -> None:
        self.field, self.file_name, self.size_bytes = "", file_name, 0
        self.sha256 = hashlib.sha256()
        self._max_bytes = max_bytes
        self._file: io.FileIO | None = None  # opened for the first byte: an empty part costs no descriptor

    @property
    def is_sent(self) -> bool:
        """What a browser sends for a file input that was left empty is no file."""
        return bool(self.file_name or self.size_bytes)

    def write(self, data: bytes) -> int:
        """Keep what comes, and only count what is too much: the rest of the form is still to be read."""
        self.size_bytes += len(data)
        if self.size_bytes <= self._max_bytes:
            self.sha256.update(data)
            self._keep(data)
        return len(data)

    def seek(self, position: int) -> None:
        """What the parser does at the end of a part: nothing to us, who read by position."""

    def read(self) -> bytes:
        """All of it; any thread may ask, any number of times."""
        return os.pread(self._file.fileno(), self.size_bytes, 0) if self._file else b""

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _keep(self, data: bytes) -> None:
        self._file = self._file or tempfile.TemporaryFile(buffering=0, dir=_folder())  # noqa: SIM115  (close() is the form's)
        rest = memoryview(data)
        while rest:  # a disk that fills up takes the first half of it without a word
            rest = rest[self._file.write(rest) :]


class _Parser(MultiPartParser):
    """Werkzeug's, which would replace what is no UTF-8. As Latin-1 each byte of a text comes through."""

    def get_part_charset(self, headers: Headers) -> str:
        return "iso-8859-1"


class _Counted:
    """A stream, and how much came of it: a client that leaves in the middle is not told from one that is done."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.size_bytes = stream, 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size_bytes += len(data)
        return data


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

    A file input that was left empty is no file. Raises BadRequest, Invalid (too many files), FileTooLarge,
    RequestEntityTooLarge (the whole form), and StorageFailed where the disk is full.
    """
    files: list[SpooledFile] = []

    def open_file(filename: str | None = None, **_: Any) -> Any:
        is_over = sum(file.is_sent for file in files) >= max_files
        files.append(SpooledFile(0 if is_over else max_file_bytes, _plain(filename or "")))
        return files[-1]

    request.max_content_length = max_files * max_file_bytes + MAX_FIELD_BYTES + ROOM_FOR_HEADERS
    release()  # what was read so far: no transaction is held while a slow client sends
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
        raise BadRequest("A multipart form names its boundary.")
    try:
        stream = _Counted(request.stream)
        fields, files = parser.parse(stream, boundary, request.content_length)  # type: ignore[arg-type]
        if request.content_length not in (None, stream.size_bytes):
            raise BadRequest("The body broke off.")
        texts = [(name, text.encode("iso-8859-1").decode()) for name, text in fields.items(multi=True)]
    except HTTPException:
        raise
    except UnicodeDecodeError as error:
        raise BadRequest("The texts of a form are UTF-8.") from error
    except ValueError as error:
        raise BadRequest("The form broke off, or is no multipart form.") from error
    except OSError as error:
        raise StorageFailed("There is no room for these files here.", details=str(error)) from error
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


def _folder() -> Path:
    """In DATA_DIR: many systems keep /tmp in memory."""
    folder = config.settings().data_dir / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _plain(name: str) -> str:
    """A name as it can be kept: browsers of old send a whole path."""
    name = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    return name.encode("utf-8", "ignore").decode()[:255]
