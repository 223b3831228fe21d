"""Variants: the large and the thumb that every gallery image gets, made from its original by a worker."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from portal.accounts.models import Workspace
from portal.db import db, now
from portal.errors import Invalid, StorageFailed
from portal.images.keys import StoragePrefix
from portal.images.models import FAILED, PENDING, READY, Image, Property
from portal.infra import jobs, storage
from portal.pixels.inspect import inspect
from portal.pixels.render import Rendered, render
from portal.work import Work, held, lock, work

MAX_ATTEMPTS = 5  # a photo that has killed its worker five times is not tried a sixth time by itself
WAITS_TOO_LONG = timedelta(seconds=15)  # reliability.md, decision 5
TRIED_TOO_OFTEN = "This photo could not be processed: the attempt broke off each time."
ORIGINAL_IS_GONE = "The original of this photo is missing from the storage. Upload it again."


class Stored(NamedTuple):
    """Both variants, safe in the bucket: what a row says of them, without their bytes."""

    large_key: str
    thumb_key: str
    large_size_bytes: int
    placeholder: int
    width: int
    height: int


class _Seen(NamedTuple):
    """What an attempt rests on, as plain values."""

    version: int
    original_key: str
    quarter_turns: int
    prefix: StoragePrefix


def make(image_id: int) -> None:
    """Make an image's variants. May be repeated: it looks at the row first, and again under the lock.

    What can't be processed ends on the row as a reason for people. Raises StorageFailed to be tried again.
    """
    image = db.session.get(Image, image_id)
    seen = _start(image) if image else None
    if image is None or seen is None:
        return None
    try:
        original = storage.uploads.get(seen.original_key)
        if original is None:
            return _fail(image, seen, ORIGINAL_IS_GONE)
        rendered = render(original, inspect(original), seen.quarter_turns)
        with work() as w:
            stored = store(w, seen.prefix, rendered)
            if not _is_still(image, seen):
                return w.drop(storage.cdn, stored.large_key, stored.thumb_key)
            swap(w, image, stored)
    except Invalid as refusal:
        _fail(image, seen, refusal.message)
    except StorageFailed:
        _take_back_attempt(image)  # the bucket's fault, not the photo's
        raise


def try_again(image: Image) -> None:
    """Make a failed image pending again, and ring. One that isn't failed is left as it is."""
    with work() as w:
        if lock(image) and image.variants == FAILED:
            _renew(image)
            w.enqueue(jobs.make_variants(image.id))


def try_all_again(workspace: Workspace, reason: str | None = None) -> int:
    """Try every failed image of a workspace again, or those that failed for one reason; return how many."""
    mine = select(Property.id).where(Property.workspace_id == workspace.id)
    with work() as w:
        failed = select(Image).where(Image.variants == FAILED, Image.property_id.in_(mine))
        if reason is not None:
            failed = failed.where(func.coalesce(Image.failure_reason, "") == reason)
        images = list(db.session.scalars(held(failed.order_by(Image.id), Image)))  # see gallery.hold
        for image in images:
            _renew(image)
            w.enqueue(jobs.make_variants(image.id))
    return len(images)


def enqueue_missing() -> int:
    """Ring for every image that waits too long and that no queue knows of; return how many (decision 5)."""
    late = select(Image.id).where(Image.pending_since < now() - WAITS_TOO_LONG).order_by(Image.pending_since)
    waiting: Iterable[int] = db.session.scalars(late.limit(10_000)).all()
    return jobs.enqueue_missing([jobs.make_variants(image_id) for image_id in waiting])


def store(w: Work, prefix: StoragePrefix, rendered: Rendered) -> Stored:
    """Put both variants under fresh keys. Nothing shows them yet."""
    large_key, thumb_key = prefix.variant_keys()
    w.put(storage.cdn, large_key, rendered.large.data, rendered.large.type)
    w.put(storage.cdn, thumb_key, rendered.thumb.data, rendered.thumb.type)
    size_bytes = len(rendered.large.data)
    return Stored(large_key, thumb_key, size_bytes, rendered.placeholder, rendered.width, rendered.height)


def swap(w: Work, image: Image, stored: Stored) -> None:
    """Have the image show what was stored; what it showed goes after the commit. Under the image's lock."""
    w.drop(storage.cdn, image.large_key, image.thumb_key)
    image.large_key, image.thumb_key = stored.large_key, stored.thumb_key
    image.large_size_bytes = stored.large_size_bytes
    image.placeholder = stored.placeholder
    image.width, image.height = stored.width, stored.height
    image.variants, image.pending_since, image.ready_at = READY, None, now()
    image.failure_reason = None


def _start(image: Image) -> _Seen | None:
    """Count the attempt before anything can break; None where there is nothing to do."""
    with work():
        if not lock(image) or image.variants != PENDING:
            return None
        if image.attempts >= MAX_ATTEMPTS:
            _end_badly(image, TRIED_TOO_OFTEN)
            return None
        image.attempts += 1
        image.started_at = now()
        prefix = StoragePrefix.of(db.session.get_one(Property, image.property_id))
        return _Seen(image.version, image.original_key, image.quarter_turns, prefix)


def _is_still(image: Image, seen: _Seen) -> bool:
    return lock(image) and image.variants == PENDING and image.version == seen.version


def _fail(image: Image, seen: _Seen, reason: str) -> None:
    with work():
        if _is_still(image, seen):
            _end_badly(image, reason)


def _end_badly(image: Image, reason: str) -> None:
    image.variants, image.pending_since, image.failure_reason = FAILED, None, reason[:300]


def _renew(image: Image) -> None:
    image.variants, image.pending_since, image.failure_reason = PENDING, now(), None
    image.attempts, image.started_at = 0, None


def _take_back_attempt(image: Image) -> None:
    with work():
        if lock(image) and image.attempts:
            image.attempts -= 1
