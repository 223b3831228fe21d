"""The life of an image's variants: make them from the original in a worker, store, swap, fail, retry."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.exc import OperationalError

from portal.accounts.models import Workspace
from portal.db import db, now
from portal.errors import Invalid, StorageFailed
from portal.images import gallery, originals
from portal.images.keys import StoragePrefix
from portal.images.models import FAILED, PENDING, READY, Image, Property
from portal.infra import jobs, storage
from portal.inventory import LARGE, THUMB
from portal.pixels.derive import VariantsRecipe, derive, pipeline
from portal.pixels.inspect import inspect
from portal.pixels.rejection import is_transient
from portal.pixels.render import Rendered
from portal.work import Work, for_update, lock, work

MAX_ATTEMPTS = 5  # a photo that has killed its worker this often is not retried automatically
LATE_AFTER = timedelta(seconds=3)  # then a pending image's job may be lost: Redis was down at the commit, or flushed
TRIED_TOO_OFTEN = "This photo could not be processed: every attempt was interrupted."


class StoredVariants(NamedTuple):
    """Both variants in the bucket: the values of an Image row, without the bytes."""

    large_key: str
    thumb_key: str
    large_size_bytes: int
    placeholder: int
    width: int
    height: int


class _Attempt(NamedTuple):
    """An attempt to make variants: the image's state when it began, as plain values."""

    property_id: int
    version: int
    original_key: str
    sha256: str
    quarter_turns: int
    prefix: StoragePrefix
    is_last: bool


def make(image_id: int) -> None:
    """Make an image's variants. Safe to repeat: the row's state is checked first, and again under the lock.

    If the photo can't be processed, the row gets the reason. Raises StorageFailed, and RejectedFile while another
    attempt may succeed, so that RQ retries the job.
    """
    image = db.session.get(Image, image_id)
    attempt = _start(image) if image else None
    if image is None or attempt is None:
        return None
    try:
        storage.cdn.demand_room()  # before the work, which would be in vain
        original = originals.read(attempt.original_key, attempt.sha256)
        rendered = derive(original, inspect(original), VariantsRecipe(attempt.quarter_turns))
        with work() as w:
            stored = store(w, attempt.prefix, rendered)
            if not _is_current(image, attempt):
                return w.drop(storage.cdn, stored.large_key, stored.thumb_key)
            swap(w, image, stored)
    except Invalid as refusal:
        if is_transient(refusal) and not attempt.is_last:
            raise
        _fail(image, attempt, refusal.message)
    except (StorageFailed, OperationalError):
        _take_back_attempt(image)  # the bucket's or the database's fault, not the photo's
        raise


def try_again(image: Image) -> None:
    """Make a failed image pending and enqueue its job. Does nothing unless it has failed."""
    with work() as w:
        property = db.session.get_one(Property, image.property_id)
        if lock(property) and lock(image) and image.variants == FAILED:
            _reset(w, [image])
            _report(w, property)


def try_all_again(workspace: Workspace, reason: str | None = None) -> int:
    """Retry every failed image of a workspace, or those that failed for one reason; return how many."""
    is_failed = Image.variants == FAILED
    if reason is not None:
        is_failed &= func.coalesce(Image.failure_reason, "") == reason
    with_failed = select(Property).where(
        Property.workspace_id == workspace.id, exists().where(Image.property_id == Property.id, is_failed)
    )
    count = 0
    with work() as w:
        for property in db.session.scalars(for_update(with_failed.order_by(Property.id), Property)).all():
            by_id = select(Image).where(Image.property_id == property.id, is_failed).order_by(Image.id)
            images = db.session.scalars(for_update(by_id, Image)).all()
            if images:
                _reset(w, images)
                _report(w, property)
            count += len(images)
    return count


def enqueue_missing() -> int:
    """Enqueue the job of every image that has been pending for long and whose job is missing; return how many."""
    late = select(Image.id).where(Image.pending_since < now() - LATE_AFTER).order_by(Image.pending_since)
    waiting: Iterable[int] = db.session.scalars(late.limit(10_000)).all()
    return jobs.enqueue_missing([jobs.make_variants(image_id) for image_id in waiting])


def store(w: Work, prefix: StoragePrefix, rendered: Rendered) -> StoredVariants:
    """Store both variants under fresh keys. No row refers to them yet."""
    large_key, thumb_key = prefix.variant_keys()
    w.put(storage.cdn, large_key, rendered.large.data, rendered.large.type, LARGE, pipeline=pipeline())
    w.put(storage.cdn, thumb_key, rendered.thumb.data, rendered.thumb.type, THUMB, pipeline=pipeline())
    size_bytes = len(rendered.large.data)
    return StoredVariants(large_key, thumb_key, size_bytes, rendered.placeholder, rendered.width, rendered.height)


def swap(w: Work, image: Image, stored: StoredVariants) -> None:
    """Give an image its new variants; the old ones are deleted after the commit. Call it under the image's lock."""
    w.drop(storage.cdn, image.large_key, image.thumb_key)
    image.large_key, image.thumb_key = stored.large_key, stored.thumb_key
    image.large_size_bytes = stored.large_size_bytes
    image.placeholder = stored.placeholder
    image.width, image.height = stored.width, stored.height
    image.variants, image.pending_since, image.ready_at = READY, None, now()
    image.failure_reason = None


def _start(image: Image) -> _Attempt | None:
    """Begin an attempt, counted in advance so that crashes count too; return None if there is nothing to do."""
    with work():
        if not lock(image) or image.variants != PENDING:
            return None
        prefix = StoragePrefix.of(db.session.get_one(Property, image.property_id))
        may_try, is_last = image.attempts < MAX_ATTEMPTS, image.attempts >= MAX_ATTEMPTS - 1
        attempt = _Attempt(
            image.property_id, image.version, image.original_key, image.sha256, image.quarter_turns, prefix, is_last
        )
        if may_try:
            image.attempts += 1
            image.started_at = now()
    if may_try:
        return attempt
    _fail(image, attempt, TRIED_TOO_OFTEN)
    return None


def _is_current(image: Image, attempt: _Attempt) -> bool:
    """Lock the image; return whether it is still pending and unchanged since the attempt began."""
    return lock(image) and image.variants == PENDING and image.version == attempt.version


def _fail(image: Image, attempt: _Attempt, reason: str) -> None:
    """Record why an image can't be processed. The API lists the reason, so the gallery has changed."""
    with work() as w:
        property = db.session.get(Property, attempt.property_id)
        if property and lock(property) and _is_current(image, attempt):  # as everywhere, the property is locked first
            image.variants, image.pending_since, image.failure_reason = FAILED, None, reason[:300]
            _report(w, property)


def _reset(w: Work, images: Iterable[Image]) -> None:
    for image in images:
        image.variants, image.pending_since, image.failure_reason = PENDING, now(), None
        image.attempts, image.started_at = 0, None
        w.enqueue(jobs.make_variants(image.id))


def _report(w: Work, property: Property) -> None:
    gallery.bump_version(property)
    gallery.emit_updated(w, property)


def _take_back_attempt(image: Image) -> None:
    with work():
        if lock(image) and image.attempts:
            image.attempts -= 1
