"""Renditions: the best form of an image for a width and a browser, rendered once and kept."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import exists, or_, select

from portal.config import settings
from portal.db import db, is_storable, release
from portal.errors import NotFound, TooMany
from portal.images.keys import LADDER, rendition_key
from portal.images.models import FAILED, READY, Image, Rendition
from portal.images.variants import rendering
from portal.infra import jobs, storage
from portal.pixels.inspect import inspect
from portal.pixels.render import resize
from portal.work import lock, quietly, work

WEBP, JPEG, AVIF = "image/webp", "image/jpeg", "image/avif"
LARGE_PX = 2048  # of the large variant
WAIT_FOR_RENDITION_S = 10
GONE = "This photo has just been changed or deleted."


@dataclass(frozen=True)
class Form:
    """A form of an image in the CDN bucket."""

    key: str
    type: str
    width: int
    lasts: bool = True  # False: a better form is being made, so caches should not keep this one for long


def find_image(key: str) -> Image:
    """Return the image of a public key. Raises NotFound."""
    image = db.session.scalar(select(Image).where(Image.key == key)) if is_storable(key) else None
    if image is None:
        raise NotFound("There is no such photo.", code="image_not_found")
    return image


def is_referenced(key: str) -> bool:
    """Return whether a row refers to this object of the CDN bucket; a dropped object may remain there for a while."""
    images = exists().where(or_(Image.large_key == key, Image.thumb_key == key))
    found = bool(db.session.scalar(select(or_(images, exists().where(Rendition.key == key)))))
    release()  # no connection is held while bytes travel
    return found


def rung(width_px: int | None) -> int:
    """Return the smallest width in LADDER that is at least `width_px`; the largest if there is none, or for None."""
    return next((step for step in LADDER if width_px and step >= width_px), LADDER[-1])


def best(image: Image, accepts: frozenset[str], width_px: int | None) -> Form:
    """Return the best form that a browser accepts: AVIF if a worker has made it already, else WebP or JPEG.

    A missing WebP or JPEG is rendered now and kept. If another request is rendering it or no slot gets free in time,
    the next best existing form is returned. Raises TooMany if there is none, NotFound if the photo can't be rendered.
    """
    width = rung(width_px)
    type = WEBP if WEBP in accepts else JPEG
    forms = _existing(image)
    wants_avif = AVIF in accepts and image.variants == READY
    image_id = image.id
    found = forms.get((AVIF, width)) if wants_avif else None
    found = found or forms.get((type, width)) or _make(image, width, type)
    release()  # no connection is held while bytes travel
    if wants_avif and found.type != AVIF:
        quietly(jobs.enqueue_once, jobs.make_avif(image_id, width))
        return replace(found, lasts=False)
    return found


def make_avif(image_id: int, width_px: int) -> None:
    """Make the AVIF of one width from the large variant, unless it exists already or the image is not ready."""
    image = db.session.get(Image, image_id)
    if image is None or image.variants != READY or (AVIF, width_px) in _existing(image):
        return
    source = _RenditionSource.of(image)
    release()  # no transaction stays open while rendering
    data = source.bucket_bytes()
    if data is None:
        return
    rendition = resize(data, inspect(data), width_px, AVIF)
    with suppress(NotFound):  # turned or deleted meanwhile
        _keep(image, source, width_px, AVIF, rendition.data)


@dataclass(frozen=True)
class _RenditionSource:
    """What a rendition is made from, as plain values: the large variant if there is one, else the original."""

    uuid: UUID
    version: int
    key: str
    is_original: bool
    quarter_turns: int

    @classmethod
    def of(cls, image: Image) -> "_RenditionSource":
        if image.large_key:
            return cls(image.uuid, image.version, image.large_key, False, 0)
        return cls(image.uuid, image.version, image.original_key, True, image.quarter_turns)

    def bucket_bytes(self) -> bytes | None:
        return (storage.uploads if self.is_original else storage.cdn).get(self.key)


def _existing(image: Image) -> dict[tuple[str, int], Form]:
    """Return every form of an image's current version, by type and width."""
    kept = select(Rendition).where(Rendition.image_id == image.id, Rendition.version == image.version)
    forms = {(row.type, row.width): Form(row.key, row.type, row.width) for row in db.session.scalars(kept)}
    if image.large_key:
        forms[WEBP, LARGE_PX] = Form(image.large_key, WEBP, LARGE_PX)
    return forms


def _make(image: Image, width: int, type: str) -> Form:
    """Render and keep a form, unless another thread has just done so."""
    if image.variants == FAILED and not image.large_key:
        raise NotFound("This photo could not be processed.", code="image_failed")
    image_id, source = image.id, _RenditionSource.of(image)
    release()  # no transaction stays open while rendering
    with _single_flight((image_id, source.version, width, type)) as has_slot:
        current = db.session.get(Image, image_id)
        if current is None or current.version != source.version:
            raise NotFound(GONE, code="image_not_found")
        forms = _existing(current)
        if (type, width) in forms:
            return forms[type, width]
        if not has_slot:
            return _next_best(forms, width, type)
        release()
        data = source.bucket_bytes()
        if data is None:
            raise NotFound("The file of this photo is missing.", code="image_missing")
        rendition = rendering.in_child(resize, data, inspect(data), width, type, source.quarter_turns)
        return _keep(current, source, width, type, rendition.data)


def _keep(image: Image, source: _RenditionSource, width: int, type: str, data: bytes) -> Form:
    """Store a rendition and its row; if another process was first, return that one's form."""
    key = rendition_key(source.uuid, width, type)
    with work() as w:
        w.put(storage.cdn, key, data, type)
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
    return Form(key, type, width)


def _next_best(forms: dict[tuple[str, int], Form], width: int, type: str) -> Form:
    """Return the existing form of this type with the nearest width, a larger one if possible. Raises TooMany."""
    usable = [form for form in forms.values() if form.type == type]
    if not usable:
        raise TooMany("Too many photos are being prepared. Try again in a moment.", retry_after_s=1)
    nearest = min(usable, key=lambda form: (form.width < width, abs(form.width - width)))
    return replace(nearest, lasts=False)


class _Flights:
    """The renditions that this process is making: one thread renders, the others that want the same one wait."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[object, tuple[threading.Lock, int]] = {}


_flights = _Flights()


@contextmanager
def _single_flight(what: object) -> Iterator[bool]:
    """Let one thread at a time render `what`, in one of the process's slots.

    Yields False if no slot was free in time, or if too many renditions are waiting already.
    """
    deadline = time.monotonic() + WAIT_FOR_RENDITION_S
    with _flights.guard:
        others = len(_flights.locks) - (what in _flights.locks)
        flight, waiting = _flights.locks.get(what, (threading.Lock(), 0))
        _flights.locks[what] = (flight, waiting + 1)
    if others >= max(2, settings().web_threads // 2):  # keep the other threads for other requests
        deadline = 0
    try:
        with _acquired(flight, deadline) as is_first:
            if not is_first:
                yield False
                return
            with _acquired(rendering.slots(), deadline) as slot:
                yield slot
    finally:
        with _flights.guard:
            flight, waiting = _flights.locks.pop(what)
            if waiting > 1:
                _flights.locks[what] = (flight, waiting - 1)


@contextmanager
def _acquired(lock: "threading.Lock | rendering.FairSemaphore", deadline: float) -> Iterator[bool]:
    got = lock.acquire(timeout=max(0, deadline - time.monotonic()))
    try:
        yield got
    finally:
        if got:
            lock.release()
