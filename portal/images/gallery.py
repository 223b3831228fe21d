"""A property's gallery: its images and their order, the quota of its plan, descriptions, and change events."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, case, func, select

from portal.db import as_uuid, db
from portal.errors import Conflict, Invalid, NotFound, OverQuota
from portal.images.models import FAILED, Image, ListedImage, Property
from portal.webhooks import events
from portal.work import Work, for_update, lock, work

MAX_ALT_TEXT_LENGTH = 500  # Property Images API, "Confirm Upload"
# Built once: building a statement takes longer than SQLite takes to execute it.
COUNT_IMAGES = select(func.count()).where(Image.property_id == bindparam("property_id"))
FAILURE = case((Image.variants == FAILED, func.coalesce(Image.failure_reason, "")))
LIST_IMAGES = (
    select(Image.uuid, Image.key, Image.alt_text, Image.position, FAILURE)
    .where(Image.property_id == bindparam("property_id"))
    .order_by(Image.position)
)
State = list[tuple[int, int, bool, int]]  # of each image: id, position, is_main, version


class Quota(NamedTuple):
    """How many images a property has, and how many its plan allows."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


def images(property: Property) -> list[Image]:
    """Return the gallery's images in order."""
    return list(db.session.scalars(select(Image).where(Image.property_id == property.id).order_by(Image.position)))


def list_images(property: Property) -> list[ListedImage]:
    """Return the gallery in order, for reading only: takes a fifth of the time of `images`."""
    return [ListedImage(*row) for row in db.session.execute(LIST_IMAGES, {"property_id": property.id})]


def find(property: Property, uuid: str) -> Image:
    """Return an image of this property. Raises NotFound, also for an image of another property."""
    image = db.session.scalar(select(Image).where(Image.property_id == property.id, Image.uuid == as_uuid(uuid)))
    if image is None:
        raise NotFound("There is no such photo.", code="image_not_found")
    return image


def quota(property: Property) -> Quota:
    """Count images against the plan; unconfirmed uploads don't count. Exact only while the property is locked."""
    used = db.session.scalar(COUNT_IMAGES, {"property_id": property.id}) or 0
    return Quota(used, property.workspace.plan.images_per_property)


def require_quota(property: Property, wanted: int) -> Quota:
    """Return the quota; raise OverQuota, with the numbers in its details, if it isn't enough for `wanted` more."""
    used, limit = current = quota(property)
    if used + wanted > limit:
        raise OverQuota(
            f"This property has {used} of the {limit} photos that the plan allows; there is no room for {wanted} more.",
            details={"limit": "imagesPerProperty", "max": limit, "used": used, "requested": wanted},
        )
    return current


def append(property: Property, *images: Image) -> None:
    """Add new images at the end; a gallery's first image becomes its cover. Call it under the property's lock.

    Raises OverQuota: this is the check that enforces the plan, whatever an earlier one found.
    """
    used = require_quota(property, len(images)).used
    has_cover = db.session.scalar(select(Image.id).where(Image.property_id == property.id, Image.is_main))
    for position, image in enumerate(images, start=used):  # positions are 0…n−1 without gaps
        image.position, image.is_main = position, position == used and not has_cover
    db.session.add_all(images)
    bump_version(property)


def insert(property: Property, image: Image, position: int | None) -> None:
    """Insert a new image at a position; None is the end. Call it under the property's lock. Raises OverQuota.

    An image inserted directly before the cover becomes the new cover.
    """
    append(property, image)
    if position is None or position >= image.position:
        return
    order = [other for other in lock_images(property) if other is not image]
    order.insert(position, image)
    _set_positions(order)
    if image is order[0] and order[1].is_main:
        _set_cover(image, order)


def bump_version(property: Property) -> None:
    """Increment the gallery's version after a change. Call it under the property's lock."""
    property.gallery_version += 1
    db.session.flush()


def emit_updated(w: Work, property: Property) -> None:
    """Emit property.updated. Call it exactly once for each change that takes effect."""
    data = {"id": str(property.uuid), "numericId": property.id}
    events.emit(w, property.workspace_id, events.PROPERTY_UPDATED, data)


def describe(property: Property, uuid: str, alt_text: str | None) -> Image:
    """Set an image's description; an empty one is stored as None. Raises Invalid, NotFound."""
    text = checked_alt_text(alt_text)
    image = find(property, uuid)
    with work() as w:
        if not (lock(property) and lock(image)):
            raise NotFound("There is no such photo.", code="image_not_found")
        if image.alt_text != text:
            image.alt_text = text
            bump_version(property)
            emit_updated(w, property)
    return image


def checked_alt_text(text: str | None) -> str | None:
    """Return a description as stored: None for an empty one. Raises Invalid beyond MAX_ALT_TEXT_LENGTH."""
    if text is not None and len(text) > MAX_ALT_TEXT_LENGTH:
        raise Invalid(
            f"A description may have at most {MAX_ALT_TEXT_LENGTH} characters; this one has {len(text)}.",
            code="alt_text",
        )
    return text if text and text.strip() else None


def lock_images(property: Property, if_version: int | None = None) -> list[Image]:
    """Lock the property and its images; return the images in order, freshly read.

    Raises NotFound if the property was deleted, Conflict if the gallery's version is not `if_version`.
    """
    if not lock(property):
        raise NotFound("There is no such property.", code="property_not_found")
    if if_version is not None and property.gallery_version != if_version:
        raise Conflict("The gallery has changed. Reload it and try again.", code="gallery_changed")
    # Locked in order of id, as everywhere: two changes that lock in different orders could deadlock.
    by_id = select(Image).where(Image.property_id == property.id).order_by(Image.id)
    rows = db.session.scalars(for_update(by_id, Image).execution_options(populate_existing=True))
    return sorted(rows, key=lambda image: image.position)


def state_of(images: Sequence[Image]) -> State:
    """Return the gallery's state, which `set_order_and_cover` compares to detect a change."""
    return [(image.id, image.position, image.is_main, image.version) for image in images]


def set_order_and_cover(
    w: Work,
    property: Property,
    before: State,
    order: Sequence[Image],
    cover: Image | None = None,
    *,
    fields_changed: bool = False,
) -> None:
    """Set the order and the cover: `cover`, else the current cover, else the first image.

    If the gallery differs from `before`, increment its version. Emit one event if it or the property's fields
    changed (`fields_changed`). Call it under the property's lock.
    """
    _set_positions(order)
    chosen = cover or next((image for image in order if image.is_main), next(iter(order), None))
    if chosen:
        _set_cover(chosen, order)
    is_changed = before != state_of(order)
    if is_changed:
        bump_version(property)
    if is_changed or fields_changed:
        emit_updated(w, property)


def _set_positions(order: Sequence[Image]) -> None:
    for position, image in enumerate(order):
        image.position = position


def _set_cover(cover: Image, images: Sequence[Image]) -> None:
    """Mark the cover, after clearing the old one: a unique index allows only one."""
    for image in images:
        if image is not cover:
            image.is_main = False
    db.session.flush()
    cover.is_main = True
