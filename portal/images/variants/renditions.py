"""Renditions: an image in the width and format that suit a browser, rendered once and kept."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import select

from portal import inventory
from portal.config import settings
from portal.db import db, is_storable, release
from portal.errors import Invalid, NotFound, TooMany
from portal.images.keys import RENDITION_WIDTHS, rendition_key
from portal.images.models import FAILED, READY, Image, Rendition
from portal.images.variants import rendering
from portal.infra import jobs, storage
from portal.infra.storage import Bucket
from portal.inventory import CHANGED, ORIGINAL, RENDITION, Damaged, Facts
from portal.pixels.derive import RenditionRecipe, derive, pipeline
from portal.pixels.inspect import inspect
from portal.pixels.rejection import is_transient
from portal.pixels.render import THUMB_PX
from portal.work import best_effort, lock, work

WEBP, JPEG, AVIF = "image/webp", "image/jpeg", "image/avif"
LARGE_PX = 2048  # of the large variant
WAIT_FOR_RENDITION_S = 10
GONE = "This photo has just been changed or deleted."


@dataclass(frozen=True)
class RenditionFile:
    """An object of the CDN bucket: an image in one width and format."""

    key: str
    type: str
    width: int
    is_final: bool = True  # False: a better one is being made, so caches should not keep this one for long


def find_image(key: str) -> Image:
    """Return the image of a public key. Raises NotFound."""
    image = db.session.scalar(select(Image).where(Image.key == key)) if is_storable(key) else None
    if image is None:
        raise NotFound("There is no such photo.", code="image_not_found")
    return image


def rendition_width(wanted_px: int | None) -> int:
    """Return the smallest of RENDITION_WIDTHS that is at least `wanted_px`, or the largest if none is, or for None."""
    return next((width for width in RENDITION_WIDTHS if wanted_px and width >= wanted_px), RENDITION_WIDTHS[-1])


def best(image: Image, accepts: frozenset[str], width_px: int | None) -> RenditionFile:
    """Return the best rendition that a browser accepts: AVIF if a worker has made it already, else WebP or JPEG.

    A missing WebP or JPEG is rendered now and kept. If another request is rendering it or no slot gets free in time,
    the next best existing one is returned. Raises TooMany if there is none, NotFound if the photo can't be rendered.
    """
    width = rendition_width(width_px)
    type = WEBP if WEBP in accepts else JPEG
    files = _existing(image)
    wants_avif = AVIF in accepts and image.variants == READY
    image_id = image.id
    found = files.get((AVIF, width)) if wants_avif else None
    found = found or files.get((type, width)) or _make(image, width, type)
    release()  # no connection is held while bytes travel
    if wants_avif and found.type != AVIF:
        best_effort(jobs.enqueue_once, jobs.make_avif(image_id, width))
        return replace(found, is_final=False)
    return found


def stored(image: Image, accepts: frozenset[str], width_px: int | None) -> list[RenditionFile]:
    """Return what is stored of an image in a type that a browser accepts, the nearest width first; none is final."""
    width = rendition_width(width_px)
    files = [file for file in _existing(image).values() if file.type == JPEG or file.type in accepts]
    if image.thumb_key and WEBP in accepts:
        files.append(RenditionFile(image.thumb_key, WEBP, THUMB_PX))
    return [replace(file, is_final=False) for file in sorted(files, key=lambda file: abs(file.width - width))]


def make_avif(image_id: int, width_px: int) -> None:
    """Make the AVIF of one width from the large variant, unless it exists already or the image is not ready."""
    image = db.session.get(Image, image_id)
    if image is None or image.variants != READY or (AVIF, width_px) in _existing(image):
        return
    source = RenditionSource.of(image)
    release()  # no transaction stays open while rendering
    try:
        data = source.read()
    except Damaged:  # made again when somebody asks for it, or by the audit
        return
    rendition = derive(data, inspect(data), RenditionRecipe(width_px, AVIF))
    with suppress(NotFound):  # rotated or deleted meanwhile
        _store(image, source, width_px, AVIF, rendition.data)


@dataclass(frozen=True)
class RenditionSource:
    """What a rendition is made from, as plain values: the large variant if there is one, else the original."""

    uuid: UUID
    version: int
    bucket: Bucket
    facts: Facts
    quarter_turns: int

    @classmethod
    def of(cls, image: Image) -> "RenditionSource":
        large = inventory.find(storage.cdn, image.large_key) if image.large_key else None
        if large:
            return cls(image.uuid, image.version, storage.cdn, large, 0)
        original = Facts(image.original_key, ORIGINAL, image.type, None, image.sha256)
        return cls(image.uuid, image.version, storage.uploads, original, image.quarter_turns)

    def read(self) -> bytes:
        """Return the source's bytes. Raises Damaged."""
        return inventory.verified(self.bucket, self.facts)


def _existing(image: Image) -> dict[tuple[str, int], RenditionFile]:
    """Return every rendition of an image's current version, by type and width."""
    kept = select(Rendition).where(Rendition.image_id == image.id, Rendition.version == image.version)
    files = {(row.type, row.width): RenditionFile(row.key, row.type, row.width) for row in db.session.scalars(kept)}
    if image.large_key:
        files[WEBP, LARGE_PX] = RenditionFile(image.large_key, WEBP, LARGE_PX)
    return files


def _make(image: Image, width: int, type: str) -> RenditionFile:
    """Render and keep a rendition, unless another thread has just done so."""
    if image.variants == FAILED and not image.large_key:
        raise NotFound("This photo could not be processed.", code="image_failed")
    image_id, source = image.id, RenditionSource.of(image)
    release()  # no transaction stays open while rendering
    with single_flight((image_id, source.version, width, type)) as has_slot:
        current = db.session.get(Image, image_id)
        if current is None or current.version != source.version:
            raise NotFound(GONE, code="image_not_found")
        files = _existing(current)
        if (type, width) in files:
            return files[type, width]
        if not has_slot:
            return _next_best(files, width, type)
        release()
        data = source.read()
        recipe = RenditionRecipe(width, type, source.quarter_turns)
        try:
            rendition = rendering.derived(data, inspect(data), recipe)
        except Invalid as undecodable:
            if source.facts.kind == ORIGINAL or is_transient(undecodable):
                raise
            raise Damaged(source.bucket, source.facts.key, CHANGED) from undecodable  # no hash has said so yet
        return _store(current, source, width, type, rendition.data)


def _store(image: Image, source: RenditionSource, width: int, type: str, data: bytes) -> RenditionFile:
    """Store a rendition and its row; if another process was first, return that one's form."""
    key = rendition_key(source.uuid, width, type)
    with work() as w:
        w.put(storage.cdn, key, data, type, RENDITION, pipeline=pipeline())
        if not lock(image) or image.version != source.version:
            w.drop(storage.cdn, key)
            raise NotFound(GONE, code="image_not_found")
        first = _existing(image).get((type, width))
        if first:
            w.drop(storage.cdn, key)
            return first
        db.session.add(
            Rendition(
                image_id=image.id,
                version=source.version,
                width=width,
                type=type,
                key=key,
                size_bytes=len(data),
            )
        )
    return RenditionFile(key, type, width)


def _next_best(files: dict[tuple[str, int], RenditionFile], width: int, type: str) -> RenditionFile:
    """Return the existing rendition of this type with the nearest width, a larger one if possible. Raises TooMany."""
    usable = [file for file in files.values() if file.type == type]
    if not usable:
        raise TooMany("Too many photos are being prepared. Try again in a moment.", retry_after_s=1)
    nearest = min(usable, key=lambda file: (file.width < width, abs(file.width - width)))
    return replace(nearest, is_final=False)


class _KeyedLocks:
    """A lock for each rendition being made: one thread renders it, and the others that want it wait."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[object, tuple[threading.Lock, int]] = {}  # with the number of threads that hold or want it


_in_progress = _KeyedLocks()


@contextmanager
def single_flight(key: object) -> Iterator[bool]:
    """Let one thread at a time render `key`, in one of the process's slots.

    Yields False if no slot was free in time, or if too many renditions are waiting already.
    """
    deadline = time.monotonic() + WAIT_FOR_RENDITION_S
    with _in_progress.guard:
        others = len(_in_progress.locks) - (key in _in_progress.locks)
        mutex, waiting = _in_progress.locks.get(key, (threading.Lock(), 0))
        _in_progress.locks[key] = (mutex, waiting + 1)
    if others >= max(2, settings().web_threads // 2):  # keep the other threads for other requests
        deadline = 0
    try:
        with _acquired(mutex, deadline) as is_first:
            if not is_first:
                yield False
                return
            with _acquired(rendering.slots(), deadline) as slot:
                yield slot
    finally:
        with _in_progress.guard:
            mutex, waiting = _in_progress.locks.pop(key)
            if waiting > 1:
                _in_progress.locks[key] = (mutex, waiting - 1)


@contextmanager
def _acquired(lock: "threading.Lock | rendering.FairSemaphore", deadline: float) -> Iterator[bool]:
    got = lock.acquire(timeout=max(0, deadline - time.monotonic()))
    try:
        yield got
    finally:
        if got:
            lock.release()
