"""Delete expired rows: uploads never confirmed, deleted photos, old imports. Also says which objects have a row."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, or_, select, union_all

from portal.db import db, now, release
from portal.images.models import Deleted, Image, ImportJob, Rendition, Upload
from portal.infra import storage
from portal.work import held, work

BATCH = 500
IMPORTS_KEPT = timedelta(days=90)  # as history on the jobs page


def expire_uploads() -> int:
    """Delete uploads that were not confirmed in time, and the objects under their keys; return how many.

    Works through an index in batches, so a large table is never scanned. Rows of confirmed uploads are kept as long
    as their property.
    """
    count = 0
    while True:
        over = select(Upload).where(Upload.confirmed_at.is_(None), Upload.expires_at < now()).limit(BATCH)
        with work() as w:
            uploads = list(db.session.scalars(held(over, Upload, skip_locked=True)))
            w.drop(storage.uploads, *(upload.key for upload in uploads))
            db.session.execute(delete(Upload).where(Upload.id.in_([upload.id for upload in uploads])))
        count += len(uploads)
        if len(uploads) < BATCH:
            return count


def empty_bin() -> int:
    """Delete the data and originals of images whose undo period is over; return how many, at most BATCH."""
    over = select(Deleted).where(Deleted.expires_at < now()).limit(BATCH)
    if not db.session.scalar(over.limit(1)):
        release()
        return 0
    with work() as w:
        found = list(db.session.scalars(held(over, Deleted, skip_locked=True)))
        for deleted in found:
            w.drop(storage.uploads, deleted.original_key)
            db.session.delete(deleted)
    return len(found)


def forget_imports() -> int:
    """Delete imports that ended more than IMPORTS_KEPT ago, but not their photos; return how many."""
    old = delete(ImportJob).where(ImportJob.completed_at < now() - IMPORTS_KEPT)
    with work():
        return cast(CursorResult[Any], db.session.execute(old)).rowcount


def referenced_upload_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that are originals, of deleted images too, or of uploads that may be confirmed."""
    originals = select(Image.original_key).where(Image.original_key.in_(keys))
    awaited = select(Upload.key).where(Upload.key.in_(keys), Upload.confirmed_at.is_(None))
    in_bin = select(Deleted.original_key).where(Deleted.original_key.in_(keys))
    return set(db.session.scalars(union_all(originals, awaited, in_bin)))


def used_uploads(keys: Sequence[str]) -> set[str]:
    """Return those of the keys whose upload was confirmed: an object there comes from a second PUT."""
    used = select(Upload.key).where(Upload.key.in_(keys), Upload.confirmed_at.is_not(None))
    return set(db.session.scalars(used))


def referenced_cdn_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that are variants or renditions."""
    images = select(Image.large_key, Image.thumb_key).where(or_(Image.large_key.in_(keys), Image.thumb_key.in_(keys)))
    variants = {key for row in db.session.execute(images) for key in row}
    return variants | set(db.session.scalars(select(Rendition.key).where(Rendition.key.in_(keys))))
