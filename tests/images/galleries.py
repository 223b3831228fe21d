"""Galleries to edit: finished images, their pixels, and invariants of every gallery."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from portal.db import db
from portal.images import edit, gallery, keys
from portal.images.edit import AddedFile, ArrangedImage, Change
from portal.images.models import PENDING, READY, DeletedImage, Image, Property, Rendition, Upload
from portal.infra import storage
from portal.inventory import LARGE, ORIGINAL, THUMB
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.buckets import Buckets

RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 200, 20), (20, 20, 200), (90, 90, 90)


def picture(colour: tuple[int, int, int] = GREY) -> bytes:
    """Wider than high, and darker at the top, so that a rotation is visible."""
    return factories.jpeg(16, 12, colour)


def added(data: bytes | None = None, quarter_turns: int = 0) -> AddedFile:
    return AddedFile(lambda: data or picture(), "added.jpg", quarter_turns)


def finished(home: Property, count: int) -> list[int]:
    """Add images whose variants are ready; return their ids."""
    before = len(gallery.images(home))
    edit.apply(home, Change(added=[added(picture((40 * n, 99, 200))) for n in range(count)]))
    return [image.id for image in now_in(home)[before:]]


def rows_without_pixels(home: Property, count: int) -> list[str]:
    """Add images as rows, with one-byte objects as their variants; return their uuids."""
    where = keys.StoragePrefix.of(home)
    images = []
    with work() as w:
        for position in range(count):
            key, original_key = where.original_key("image/jpeg"), where.original_key("image/jpeg")
            large_key, thumb_key = where.variant_keys()
            w.put(storage.uploads, original_key, b"x", "image/jpeg", ORIGINAL)
            w.put(storage.cdn, large_key, b"x", "image/webp", LARGE)
            w.put(storage.cdn, thumb_key, b"x", "image/webp", THUMB)
            images.append(
                Image(
                    uuid=keys.uuid_in(key),
                    property_id=home.id,
                    key=key,
                    original_key=original_key,
                    large_key=large_key,
                    thumb_key=thumb_key,
                    file_name="a.jpg",
                    type="image/jpeg",
                    size_bytes=1,
                    width=4,
                    height=3,
                    sha256="",
                    position=position,
                    is_main=position == 0,
                    variants=READY,
                    pending_since=None,
                )
            )
        db.session.add_all(images)
    return [str(image.uuid) for image in images]


def now_in(home: Property) -> list[Image]:
    """The gallery as it is now: in order without gaps or duplicates, with exactly one cover."""
    db.session.rollback()
    rows = gallery.images(home)
    assert [image.position for image in rows] == list(range(len(rows)))
    assert sum(image.is_main for image in rows) == min(1, len(rows))
    return rows


def cover(home: Property) -> int:
    return next(image.id for image in now_in(home) if image.is_main)


def arranged(home: Property, ids: list[int], main: int | None = None) -> list[ArrangedImage]:
    """What `imagesMeta` contains: these first, in this order, one of them the cover. A missing image has no URL."""
    urls = {image.id: keys.image_url(image) for image in gallery.images(home)}
    return [ArrangedImage(id, urls.get(id, ""), n, is_main=id == main) for n, id in enumerate(ids)]


def rows_of(property_id: int) -> Any:
    """Every column of the property and its images, and the number of its events."""
    db.session.rollback()
    ours = select(Image.__table__).where(Image.property_id == property_id).order_by(Image.id)
    property = db.session.execute(select(Property.__table__).where(Property.id == property_id)).one_or_none()
    return property, db.session.execute(ours).all(), db.session.scalar(select(func.count(Delivery.id)))


def named() -> set[tuple[str, str]]:
    """The key of every object that a row names."""
    db.session.rollback()
    images = list(db.session.scalars(select(Image)))
    private = [image.original_key for image in images]
    private += db.session.scalars(select(DeletedImage.original_key))
    private += db.session.scalars(select(Upload.key).where(Upload.confirmed_at.is_(None)))
    public = [key for image in images for key in (image.large_key, image.thumb_key) if key]
    public += db.session.scalars(select(Rendition.key))
    return {(storage.uploads.name, key) for key in private} | {(storage.cdn.name, key) for key in public}


def assert_whole(home: Property, buckets: Buckets) -> None:
    """Assert that order and cover hold, every ready image has its variants, and no object is missing or left over."""
    rows = now_in(home)
    assert all(image.large_key and image.thumb_key for image in rows if image.variants == READY)
    assert [image.pending_since is None for image in rows] == [image.variants != PENDING for image in rows]
    assert buckets.listing() == named()
