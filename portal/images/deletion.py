"""Deleting images, for good or with a chance to undo."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import insert, select

from portal.db import as_uuid, db, now
from portal.errors import NotFound
from portal.images import gallery
from portal.images.models import DeletedImage, Image, Property, Rendition
from portal.infra import jobs, storage
from portal.work import Work, for_update, work

UNDO_PERIOD = timedelta(minutes=10)  # the page offers undo for 12 s; the rest is for slow connections

KEPT_COLUMNS = (
    "key",
    "file_name",
    "type",
    "size_bytes",
    "width",
    "height",
    "sha256",
    "alt_text",
    "position",
    "is_main",
    "quarter_turns",
    "version",
    "added_by",
)


class Deletion(NamedTuple):
    """How many images were deleted, and the token that undoes it, if it can be undone."""

    images: int
    undo_token: str | None


def delete(property: Property, uuids: Sequence[str], *, undoable: bool = False) -> Deletion:
    """Delete images; those that don't belong to this property are skipped, as the Property Images API demands.

    All public objects are deleted. An undoable deletion keeps the private originals for UNDO_PERIOD.
    """
    wanted = {as_uuid(uuid) for uuid in uuids}
    token = uuid4() if undoable else None
    with work() as w:
        rows = gallery.lock_images(property)
        before = gallery.state_of(rows)
        gone = [image for image in rows if image.uuid in wanted]
        remove(w, gone, token)
        kept = [image for image in rows if image not in gone]
        gallery.set_order_and_cover(w, property, before, kept)
    return Deletion(len(gone), str(token) if token and gone else None)


def undelete(property: Property, token: str) -> int:
    """Restore the images of one deletion at their former positions; return how many. Raises OverQuota, NotFound."""
    with work() as w:
        rows = gallery.lock_images(property)
        before = gallery.state_of(rows)
        by_token = select(DeletedImage).where(
            DeletedImage.property_id == property.id, DeletedImage.token == as_uuid(token)
        )
        found = list(db.session.scalars(for_update(by_token, DeletedImage)))
        if not found:
            raise NotFound("It is too late to bring these photos back.", code="undo_over")
        gallery.require_quota(property, len(found))
        restored = sorted((_restored(property, deleted) for deleted in found), key=lambda image: image.position)
        order = list(rows)
        for image in restored:
            order.insert(min(image.position, len(order)), image)
        db.session.add_all(restored)
        for deleted in found:
            db.session.delete(deleted)
        db.session.flush()
        for image in restored:
            w.enqueue(jobs.make_variants(image.id))
        cover = next((image for image in order if image.uuid in _covers(found)), None)
        gallery.set_order_and_cover(w, property, before, order, cover)
    return len(found)


def remove(w: Work, images: Sequence[Image], token: UUID | None = None) -> None:
    """Delete the rows and objects of images. With a token, keep the rows' data and the originals for UNDO_PERIOD."""
    ids = [image.id for image in images]
    w.drop(storage.cdn, *(key for image in images for key in (image.large_key, image.thumb_key)))
    w.drop(storage.cdn, *db.session.scalars(select(Rendition.key).where(Rendition.image_id.in_(ids))))
    if token and images:
        db.session.execute(insert(DeletedImage), [_deleted_values(image, token) for image in images])
    else:
        w.drop(storage.uploads, *(image.original_key for image in images))
    for image in images:
        db.session.delete(image)


def _deleted_values(image: Image, token: UUID) -> dict[str, Any]:
    return {
        "token": token,
        "property_id": image.property_id,
        "original_key": image.original_key,
        "columns": {name: getattr(image, name) for name in KEPT_COLUMNS}
        | {
            "uuid": str(image.uuid),
            "original_restored_at": image.original_restored_at and image.original_restored_at.isoformat(),
        },
        "expires_at": now() + UNDO_PERIOD,
    }


def _restored(property: Property, deleted: DeletedImage) -> Image:
    columns = {**deleted.columns, "uuid": as_uuid(deleted.columns["uuid"]), "is_main": False}
    if "turns" in columns:  # deleted by the previous release
        columns["quarter_turns"] = columns.pop("turns")
    if restored_at := columns.get("original_restored_at"):
        columns["original_restored_at"] = datetime.fromisoformat(restored_at)
    return Image(property_id=property.id, original_key=deleted.original_key, **columns)


def _covers(found: Sequence[DeletedImage]) -> set[UUID]:
    return {as_uuid(deleted.columns["uuid"]) for deleted in found if deleted.columns["is_main"]}
