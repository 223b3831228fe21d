"""Pixels made inside a request: in limited children, at most as many at once as there are cores."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from portal.config import in_this_app, settings
from portal.errors import Invalid, Problem, TooMany
from portal.images import variants
from portal.images.keys import StoragePrefix
from portal.images.variants.lifecycle import Stored
from portal.infra import storage
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.render import render
from portal.pixels.sandbox import run
from portal.work import Work

T = TypeVar("T")

CPU_S, TIMEOUT_S = 20, 30
MEMORY_BYTES = 1024**3  # 50 megapixels take 480 MB as PNG, 809 MB as WebP
WAIT_FOR_PLACE_S = 60  # a request of twenty photos may have twenty before it
IN_HAND = 2  # photos a core: while one is drawn, another is on its way to the bucket
FAILED = "upload_failed"  # the code of a file that can't become a photo
MISSING = "missing"  # why it failed: the original is not in the bucket
ORIGINAL_IS_GONE = "The original of this photo is missing from the storage."


@dataclass(frozen=True)
class Source:
    """What variants are made from, as plain values: threads have no session."""

    read: Callable[[], bytes]  # as often as it is asked
    quarter_turns: int
    image_id: int | None = None  # None: it becomes a new image, whose original is kept
    version: int = 0
    may_fail: bool = False  # nobody asked for it by name: its worker will say so on its row


@dataclass(frozen=True)
class RenderedPhoto:
    """Variants, and a new image's original, safe in the buckets under keys that nothing names yet."""

    source: Source
    picture: Picture
    variants: Stored
    original_key: str | None
    sha256: str
    size_bytes: int


class FairSemaphore:
    """So many at a time, in the order they came: a semaphore gives a place back to whoever has just left it."""

    def __init__(self, number: int) -> None:
        self._free, self._line, self._guard = number, deque[threading.Event](), threading.Lock()

    def acquire(self, timeout: float) -> bool:
        mine = threading.Event()
        with self._guard:
            if self._free and not self._line:
                self._free -= 1
                return True
            self._line.append(mine)
        if mine.wait(max(0, timeout)):
            return True
        with self._guard:
            if mine.is_set():  # it came free in this very moment
                return True
            self._line.remove(mine)
        return False

    def release(self) -> None:
        with self._guard:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1


@cache
def slots() -> FairSemaphore:
    """What every request of this process shares: a place for each core."""
    return FairSemaphore(settings().pixel_workers)


@cache
def places() -> FairSemaphore:
    """The same for photos in hand: while some are made, others come from the disk and go to the bucket."""
    return FairSemaphore(IN_HAND * settings().pixel_workers)


def in_child(function: Callable[..., T], *args: object) -> T:
    """Run in a child that may use so much time and memory, in a place that the caller holds. Raises Refused."""
    return run(function, *args, cpu_s=CPU_S, memory_bytes=MEMORY_BYTES, timeout_s=TIMEOUT_S)


def render_all(w: Work, prefix: StoragePrefix, sources: Sequence[Source]) -> list[RenderedPhoto | None]:
    """Make and store variants side by side, as the cores allow; None for one that may fail and did.

    Asks nothing of the database. Raises Invalid (FAILED) with the index of the source, TooMany, StorageFailed.
    """
    with ThreadPoolExecutor(IN_HAND * settings().pixel_workers) as pool:
        futures = [pool.submit(in_this_app(_try), w, prefix, source, index) for index, source in enumerate(sources)]
        try:
            return [future.result() for future in futures]
        finally:  # the first failure is enough: what has not begun never does
            pool.shutdown(cancel_futures=True)


def reader(key: str) -> Callable[[], bytes]:
    """What reads an original. Raises Invalid where it is gone."""

    def read() -> bytes:
        data = storage.uploads.get(key)
        if data is None:
            raise Invalid(ORIGINAL_IS_GONE, code=MISSING)
        return data

    return read


def _try(w: Work, prefix: StoragePrefix, source: Source, index: int) -> RenderedPhoto | None:
    try:
        return _make(w, prefix, source, index)
    except Problem:
        if source.may_fail:
            return None
        raise


def _make(w: Work, prefix: StoragePrefix, source: Source, index: int) -> RenderedPhoto:
    """Make one, from bytes to objects, in a place of its own: what waits holds no memory."""
    with _held_slot(places()):
        try:
            data = source.read()
            picture = inspect(data)
            with _held_slot(slots()):
                rendered = in_child(render, data, picture, source.quarter_turns)
        except Invalid as refused:
            details = {"index": index, "reason": refused.code}
            raise Invalid(refused.message, code=FAILED, details=details) from refused
        original_key = None
        if source.image_id is None:
            original_key = prefix.original_key(picture.type)
            w.put(storage.uploads, original_key, data, picture.type)
        stored = variants.store(w, prefix, rendered)
        sha256 = hashlib.sha256(data).hexdigest()
        return RenderedPhoto(source, picture, stored, original_key, sha256, len(data))


@contextmanager
def _held_slot(room: FairSemaphore) -> Iterator[None]:
    if not room.acquire(timeout=WAIT_FOR_PLACE_S):
        raise TooMany("Too many photos are being made at once. Try again in a moment.", retry_after_s=10)
    try:
        yield
    finally:
        room.release()
