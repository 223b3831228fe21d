"""A property's images: what is there, what may be added, what they are called; and how a change is told."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from portal.db import as_uuid, db
from portal.errors import Conflict, Invalid, NotFound, OverQuota
from portal.images.models import Image, Listed, Property
from portal.webhooks import events
from portal.work import Work, held, lock, work

MAX_ALT_TEXT_LENGTH = 500  # seed B: "Max 500 chars"
# Built once: building a statement takes longer than SQLite needs for its answer.
COUNTED = select(func.count()).where(Image.property_id == bindparam("property_id"))
LISTED = (
    select(Image.uuid, Image.key, Image.alt_text, Image.position)
    .where(Image.property_id == bindparam("property_id"))
    .order_by(Image.position)
)


State = list[tuple[int, int, bool, int]]  # each image's id, position, whether it is the cover, version


class Room(NamedTuple):
    """How many images a property has, and how many its plan allows."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


def images(property: Property) -> list[Image]:
    """Return the gallery in its order."""
    return list(db.session.scalars(select(Image).where(Image.property_id == property.id).order_by(Image.position)))


def listed(property: Property) -> list[Listed]:
    """Return the gallery in its order, for reading only: a fifth of what `images` takes."""
    return [Listed(*row) for row in db.session.execute(LISTED, {"property_id": property.id})]


def find(property: Property, uuid: str) -> Image:
    """Return one image of this property. Raises NotFound; one of another property is absent too."""
    image = db.session.scalar(select(Image).where(Image.property_id == property.id, Image.uuid == as_uuid(uuid)))
    if image is None:
        raise NotFound("There is no such photo.", code="image_not_found")
    return image


def room(property: Property) -> Room:
    """Count confirmed images against the plan (contract.md, B1). Exact only while the property is locked."""
    used = db.session.scalar(COUNTED, {"property_id": property.id}) or 0
    return Room(used, property.workspace.plan.images_per_property)


def demand_room(property: Property, wanted: int) -> Room:
    """Return the room; raise OverQuota where it isn't enough for this many more: the details name the numbers."""
    used, limit = there_is = room(property)
    if used + wanted > limit:
        raise OverQuota(
            f"This property has {used} of the {limit} photos that the plan allows; there is no room for {wanted} more.",
            details={"limit": "imagesPerProperty", "max": limit, "used": used, "requested": wanted},
        )
    return there_is


def append(property: Property, *images: Image) -> None:
    """Put new images at the end; the first one of a property is its cover (X6). Under the property's lock.

    Raises OverQuota: this is where the plan's number holds, whatever was promised before.
    """
    used = demand_room(property, len(images)).used
    has_cover = db.session.scalar(select(Image.id).where(Image.property_id == property.id, Image.is_main))
    for position, image in enumerate(images, start=used):  # positions are 0…n−1 without gaps (B13)
        image.position, image.is_main = position, position == used and not has_cover
    db.session.add_all(images)
    touch(property)


def insert(property: Property, image: Image, position: int | None) -> None:
    """Put a new image at a position, and what stands there behind it; None is the end.

    Who comes to stand first, right before the cover, is it in its stead. Under the property's lock. Raises OverQuota.
    """
    append(property, image)
    if position is None or position >= image.position:
        return
    order = [one for one in hold(property) if one is not image]
    order.insert(position, image)
    _number(order)
    if image is order[0] and order[1].is_main:
        _crown(image, order)


def touch(property: Property) -> None:
    """Note that the gallery is another one now. Under the property's lock."""
    property.gallery_version += 1
    db.session.flush()


def tell(w: Work, property: Property) -> None:
    """Tell integrators that a property changed: once for each change that happened (seed B, F8)."""
    data = {"id": str(property.uuid), "numericId": property.id}
    events.emit(w, property.workspace_id, events.PROPERTY_UPDATED, data)


def describe(property: Property, uuid: str, alt_text: str | None) -> Image:
    """Set an image's description; an empty one is none (B22). Raises Invalid, NotFound."""
    text = checked_alt_text(alt_text)
    image = find(property, uuid)
    with work() as w:
        if not (lock(property) and lock(image)):
            raise NotFound("There is no such photo.", code="image_not_found")
        if image.alt_text != text:
            image.alt_text = text
            touch(property)
            tell(w, property)
    return image


def checked_alt_text(text: str | None) -> str | None:
    """Return a description as it is kept: None for an empty one. Raises Invalid past 500 characters."""
    if text is not None and len(text) > MAX_ALT_TEXT_LENGTH:
        raise Invalid(
            f"A description has at most {MAX_ALT_TEXT_LENGTH} characters; this one has {len(text)}.",
            code="alt_text",
        )
    return text if text and text.strip() else None


def hold(property: Property, if_version: int | None = None) -> list[Image]:
    """Lock the property and return its images in order, as they are now."""
    if not lock(property):
        raise NotFound("There is no such property.", code="property_not_found")
    if if_version is not None and property.gallery_version != if_version:
        raise Conflict("The gallery has changed since. Look again, then try again.", code="gallery_changed")
    # Held by id, as whoever holds many images does: in two orders, two would wait for each other.
    mine = select(Image).where(Image.property_id == property.id).order_by(Image.id)
    rows = db.session.scalars(held(mine, Image).execution_options(populate_existing=True))
    return sorted(rows, key=lambda image: image.position)


def state_of(images: Sequence[Image]) -> State:
    """What a change of the gallery would change."""
    return [(image.id, image.position, image.is_main, image.version) for image in images]


def place(
    w: Work,
    property: Property,
    before: State,
    order: Sequence[Image],
    cover: Image | None = None,
    *,
    is_renamed: bool = False,
) -> None:
    """Number the images anew, 0…n−1, and see that one is the cover: `cover`, else who is it, else the first (C7).

    Where anything is another way than `before`, the gallery is another one now. Any change is told, once.
    Under the property's lock.
    """
    _number(order)
    chosen = cover or next((image for image in order if image.is_main), next(iter(order), None))
    if chosen:
        _crown(chosen, order)
    is_changed = before != state_of(order)
    if is_changed:
        touch(property)
    if is_changed or is_renamed:
        tell(w, property)


def _number(order: Sequence[Image]) -> None:
    for position, image in enumerate(order):
        image.position = position


def _crown(cover: Image, images: Sequence[Image]) -> None:
    """In two steps: the database allows one at a time."""
    for image in images:
        if image is not cover:
            image.is_main = False
    db.session.flush()
    cover.is_main = True
