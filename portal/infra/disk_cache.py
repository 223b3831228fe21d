"""A bounded cache on local disk. A file's name is the SHA-256 of its bytes, so an entry is never stale."""

import errno
import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

from werkzeug.local import LocalProxy

from portal import config
from portal.config import Settings
from portal.infra import disk_space

KEPT = 0.9  # of the limit, after an eviction
MEASURED_EVERY = 0.05  # of the limit: bytes that a process writes between two walks of the folder
TOUCHED_EVERY_S = 3600  # a hit renews the file's time of last use, but no more often
MAX_HASHED = 50_000  # files that a process remembers to have hashed: about 10 MB
RESERVES_LEFT = 2  # times the space at which the disk counts as full: the cache gives way before that
PAUSE_S = 60  # without writes, after one failed
log = logging.getLogger(__name__)


class DiskCache:
    """Files that several processes share without locks; the least recently used ones are evicted.

    Each process hashes a file when it first reads it, and again after it has been touched in any way: hashing on each
    hit would cost as much as the rest of the request. Bytes that rot on the disk unnoticed by the file system are
    delivered until then.
    The folder may exceed `most_bytes` by MEASURED_EVERY for each process. With `most_bytes` 0, nothing is cached.
    `spare_bytes` returns how many bytes the disk has left for the cache; while there are none, it gives some back.
    """

    def __init__(self, directory: Path, most_bytes: int, spare_bytes: Callable[[], int] = lambda: sys.maxsize) -> None:
        self._directory, self._most_bytes, self._spare_bytes = str(directory), most_bytes, spare_bytes
        self._unmeasured_bytes = most_bytes  # written since the last walk; the first put walks
        self._paused_until = 0.0
        self._hashed: dict[str, tuple[int, int]] = {}  # inode and time of change of the files that were right
        self._guard, self._walk = threading.Lock(), threading.Lock()

    def get(self, sha256: str, size_bytes: int) -> bytes | None:
        """Return the cached bytes; a file with other bytes is deleted."""
        if not self._most_bytes:
            return None
        path = self._path(sha256)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                found = os.fstat(file)
                data = os.read(file, size_bytes + 1)
                if abs(time.time() - found.st_mtime) > TOUCHED_EVERY_S:
                    with suppress(OSError):  # read-only
                        os.utime(file)
            finally:
                os.close(file)
        except OSError:
            return None
        if len(data) == size_bytes and self._is_right(sha256, data, (found.st_ino, found.st_ctime_ns)):
            return data
        with suppress(OSError):
            os.unlink(path)
        return None

    def _is_right(self, sha256: str, data: bytes, state: tuple[int, int]) -> bool:
        if self._hashed.get(sha256) == state:
            return True
        if hashlib.sha256(data).hexdigest() != sha256:
            log.warning("cache file is damaged: folder=%s sha256=%s", self._directory, sha256)
            return False
        if len(self._hashed) >= MAX_HASHED:
            self._hashed.clear()
        self._hashed[sha256] = state
        return True

    def put(self, sha256: str, data: bytes) -> None:
        """Keep bytes. Never raises: a failure is logged, and nothing is written for the next PAUSE_S."""
        if len(data) > self._most_bytes or time.monotonic() < self._paused_until:
            return
        try:
            if self._spare_bytes() < len(data):
                self.give_way(len(data))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _write(self._path(sha256), data)
            self._evict_if_due(len(data))
        except OSError as error:
            self._pause(error)

    def give_way(self, needed_bytes: int = 0) -> None:
        """Delete the least recently used files until the disk has the space that others need, and so many bytes."""
        if self._most_bytes and self._spare_bytes() < needed_bytes and self._walk.acquire(blocking=False):
            try:
                self._evict(needed_bytes)
            finally:
                self._walk.release()

    def _path(self, sha256: str) -> str:
        return f"{self._directory}/{sha256[:2]}/{sha256}"

    def _evict_if_due(self, written_bytes: int) -> None:
        with self._guard:
            self._unmeasured_bytes += written_bytes
            is_due = self._unmeasured_bytes > self._most_bytes * MEASURED_EVERY
        if not is_due or not self._walk.acquire(blocking=False):
            return
        try:
            self._unmeasured_bytes = 0
            self._evict()
        finally:
            self._walk.release()

    def _evict(self, needed_bytes: int = 0) -> None:
        """Delete files down to KEPT of the limit, if there are more than the limit or the disk allows."""
        files = sorted(self._files())
        total_bytes = sum(size_bytes for _, size_bytes, _ in files)
        most_bytes = min(self._most_bytes, max(0, total_bytes + self._spare_bytes() - needed_bytes))
        if total_bytes <= most_bytes:
            return
        for _, size_bytes, path in files:
            if total_bytes <= most_bytes * KEPT:
                break
            with suppress(FileNotFoundError):  # another process has evicted it
                os.unlink(path)
            total_bytes -= size_bytes

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield time of last use, size and path of every file, including what a killed process has left."""
        for folder, _, names in os.walk(self._directory):
            for path in (f"{folder}/{name}" for name in names):
                with suppress(FileNotFoundError):
                    found = os.stat(path)
                    yield found.st_mtime_ns, found.st_size, path

    def _pause(self, error: OSError) -> None:
        with self._guard:
            if time.monotonic() < self._paused_until:
                return
            self._paused_until = time.monotonic() + PAUSE_S
        log.warning("cache write failed: folder=%s reason=%s pause_s=%d", self._directory, error.strerror, PAUSE_S)


def _write(path: str, data: bytes) -> None:
    try:
        _replace(path, data)
    except FileNotFoundError:  # the first file in its folder, or somebody has deleted the folder
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _replace(path, data)


def _replace(path: str, data: bytes) -> None:
    """Write atomically. No fsync: what a power failure leaves of a file is found to be wrong when it is read."""
    aside = f"{path}.{os.getpid()}.{threading.get_ident()}"
    try:
        with open(aside, "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(aside)
        raise


cache = cast(DiskCache, LocalProxy(lambda: config.parts()["cache"]))
"""The cache of the current app."""


def connect(settings: Settings) -> None:
    """Create the current app's cache."""
    most_bytes = settings.cache_mb * disk_space.MIB
    spare_bytes = partial(disk_space.spare_bytes, settings, reserves=RESERVES_LEFT)
    config.parts()["cache"] = DiskCache(settings.data_dir / "cache", most_bytes, spare_bytes)


def give_way() -> None:
    """Have the current app's cache give space back, if the disk has little left."""
    cache.give_way()
