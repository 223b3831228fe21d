"""Render photos inside a request: in sandboxed child processes, at most as many at a time as there are cores."""

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
from portal.images.variants.lifecycle import StoredVariants
from portal.infra import storage
from portal.inventory import ORIGINAL, digest
from portal.pixels.derive import Derived, Recipe, VariantsRecipe, derive
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.sandbox import run
from portal.work import Work

T = TypeVar("T")

CPU_S, TIMEOUT_S = 20, 30
MEMORY_BYTES = 1024**3  # measured: 50 megapixels take 480 MB as PNG, 809 MB as WebP
WAIT_FOR_SLOT_S = 60  # a request of twenty photos may queue behind another one
PHOTOS_PER_CORE = 2  # in memory: while one is rendered, another is read or stored
FAILED = "upload_failed"  # the code for a file that can't become a photo


@dataclass(frozen=True)
class RenderSource:
    """What variants are made from, as plain values, since threads have no session."""

    read: Callable[[], bytes]  # may be called more than once
    quarter_turns: int
    image_id: int | None = None  # None: a new image, whose original is stored too
    version: int = 0
    may_fail: bool = False  # True: a failure is left to the image's worker, which records the reason


@dataclass(frozen=True)
class RenderedPhoto:
    """Variants, and a new image's original, stored in the buckets under keys that no row refers to yet."""

    source: RenderSource
    picture: Picture
    variants: StoredVariants
    original_key: str | None
    sha256: str
    size_bytes: int


class FairSemaphore:
    """A semaphore whose slots are granted first come, first served.

    With threading.Semaphore, a thread that has just released a slot can take it again before those that wait.
    """

    def __init__(self, slots: int) -> None:
        self._free, self._waiting, self._guard = slots, deque[threading.Event](), threading.Lock()

    def acquire(self, timeout: float) -> bool:
        granted = threading.Event()
        with self._guard:
            if self._free and not self._waiting:
                self._free -= 1
                return True
            self._waiting.append(granted)
        if granted.wait(max(0, timeout)):
            return True
        with self._guard:
            if granted.is_set():  # granted just after the timeout
                return True
            self._waiting.remove(granted)
        return False

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


@cache
def slots() -> FairSemaphore:
    """Return this process's slots for rendering: one per core, shared by all requests."""
    return FairSemaphore(settings().pixel_workers)


@cache
def photo_slots() -> FairSemaphore:
    """Return this process's slots for photos in memory: more than for rendering, as some are being read or stored."""
    return FairSemaphore(PHOTOS_PER_CORE * settings().pixel_workers)


def in_sandbox(function: Callable[..., T], *args: object) -> T:
    """Run a function in a sandboxed child process. The caller must hold a rendering slot. Raises RejectedFile."""
    return run(function, *args, cpu_s=CPU_S, memory_bytes=MEMORY_BYTES, timeout_s=TIMEOUT_S)


def derived(source: bytes, picture: Picture, recipe: Recipe[Derived]) -> Derived:
    """Derive pictures in a sandboxed child. The caller must hold a rendering slot. Raises RejectedFile."""
    made: Derived = in_sandbox(derive, source, picture, recipe)
    return made


def render_all(w: Work, prefix: StoragePrefix, sources: Sequence[RenderSource]) -> list[RenderedPhoto | None]:
    """Render and store photos concurrently; the result is None for a source that may fail and did.

    Doesn't use the database. Raises Invalid (FAILED) with the index of the source, OriginalLost, TooMany,
    StorageFailed.
    """
    with ThreadPoolExecutor(PHOTOS_PER_CORE * settings().pixel_workers) as pool:
        futures = [pool.submit(in_this_app(_try), w, prefix, source, index) for index, source in enumerate(sources)]
        try:
            return [future.result() for future in futures]
        finally:  # after a failure, don't start the others
            pool.shutdown(cancel_futures=True)


def _try(w: Work, prefix: StoragePrefix, source: RenderSource, index: int) -> RenderedPhoto | None:
    try:
        return _make(w, prefix, source, index)
    except Problem:
        if source.may_fail:
            return None
        raise


def _make(w: Work, prefix: StoragePrefix, source: RenderSource, index: int) -> RenderedPhoto:
    """Render and store one photo. It is read only when a slot is free, so that waiting photos hold no memory."""
    with _slot(photo_slots()):
        storage.uploads.demand_reachable()
        data = source.read()
        try:
            picture = inspect(data)
            with _slot(slots()):
                rendered = derived(data, picture, VariantsRecipe(source.quarter_turns))
        except Invalid as refused:
            details = {"index": index, "reason": refused.code}
            raise Invalid(refused.message, code=FAILED, details=details) from refused
        original_key = None
        if source.image_id is None:
            original_key = prefix.original_key(picture.type)
            w.put(storage.uploads, original_key, data, picture.type, ORIGINAL)
        stored = variants.store(w, prefix, rendered)
        return RenderedPhoto(source, picture, stored, original_key, digest(data), len(data))


@contextmanager
def _slot(semaphore: FairSemaphore) -> Iterator[None]:
    if not semaphore.acquire(timeout=WAIT_FOR_SLOT_S):
        raise TooMany("Too many photos are being processed. Try again in a moment.", retry_after_s=10)
    try:
        yield
    finally:
        semaphore.release()
