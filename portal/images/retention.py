"""Delete expired rows: unconfirmed uploads, deleted images, old imports; find which objects have a row."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, or_, select, union_all

from portal import garbage, inventory
from portal.db import db, now, release
from portal.images.models import DeletedImage, Image, ImportJob, Rendition, Upload
from portal.infra import storage
from portal.inventory import REPLACED_KEPT
from portal.work import for_update, work

BATCH = 500
IMPORTS_KEPT = timedelta(days=90)  # as history on the jobs page


def expire_uploads() -> int:
    """Delete uploads that were refused or not confirmed in time, and the objects under their keys; return how many.

    Works through an index in batches, so a large table is never scanned. Rows of confirmed uploads are kept as long
    as their property.
    """
    count = 0
    while True:
        expired = select(Upload).where(Upload.confirmed_at.is_(None), Upload.expires_at < now()).limit(BATCH)
        with work() as w:
            uploads = list(db.session.scalars(for_update(expired, Upload, skip_locked=True)))
            w.drop(storage.uploads, *(upload.key for upload in uploads))
            db.session.execute(delete(Upload).where(Upload.id.in_([upload.id for upload in uploads])))
        count += len(uploads)
        if len(uploads) < BATCH:
            return count


def purge_deleted_images() -> int:
    """Delete images whose undo period is over, with their originals, for good; return how many, at most BATCH."""
    expired = select(DeletedImage).where(DeletedImage.expires_at < now()).limit(BATCH)
    if not db.session.scalar(expired.limit(1)):
        release()
        return 0
    with work() as w:
        found = list(db.session.scalars(for_update(expired, DeletedImage, skip_locked=True)))
        for deleted in found:
            w.drop(storage.uploads, deleted.original_key)
            db.session.delete(deleted)
    return len(found)


def delete_old_imports() -> int:
    """Delete imports that ended more than IMPORTS_KEPT ago, but not their photos; return how many."""
    old = delete(ImportJob).where(ImportJob.completed_at < now() - IMPORTS_KEPT)
    with work():
        return cast(CursorResult[Any], db.session.execute(old)).rowcount


def referenced_upload_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that are originals, of deleted images too, or of uploads that may be confirmed."""
    originals = select(Image.original_key).where(Image.original_key.in_(keys))
    unconfirmed = select(Upload.key).where(
        Upload.key.in_(keys), Upload.confirmed_at.is_(None), Upload.refusal.is_(None)
    )
    deleted = select(DeletedImage.original_key).where(DeletedImage.original_key.in_(keys))
    return set(db.session.scalars(union_all(originals, unconfirmed, deleted)))


def used_uploads(keys: Sequence[str]) -> set[str]:
    """Return those of the keys whose upload was confirmed or refused: an object there comes from a second PUT."""
    is_used = or_(Upload.confirmed_at.is_not(None), Upload.refusal.is_not(None))
    return set(db.session.scalars(select(Upload.key).where(Upload.key.in_(keys), is_used)))


def expire_replaced() -> int:
    """Delete objects that were replaced REPLACED_KEPT ago; return how many. Their addresses redirect from then on."""
    count = 0
    while True:
        with work():
            keys = inventory.expire_replaced(storage.cdn, now() - REPLACED_KEPT, BATCH)
            garbage.add(((storage.cdn, key) for key in keys), after=timedelta())
        count += len(keys)
        if len(keys) < BATCH:
            return count


def replaced_cdn_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys whose objects were replaced, and are kept under their old address."""
    return inventory.replaced_among(storage.cdn, keys)


def referenced_cdn_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that are variants or renditions."""
    images = select(Image.large_key, Image.thumb_key).where(or_(Image.large_key.in_(keys), Image.thumb_key.in_(keys)))
    variants = {key for row in db.session.execute(images) for key in row}
    return variants | set(db.session.scalars(select(Rendition.key).where(Rendition.key.in_(keys))))
