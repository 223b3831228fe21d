"""A property's images: their order, their cover, their words, and the room that is left."""

from typing import NamedTuple

from sqlalchemy import func, select

from portal.db import as_uuid, db
from portal.errors import Invalid, NotFound, OverQuota
from portal.images.models import Image, Property
from portal.work import lock, work

MAX_ALT_TEXT_LENGTH = 500  # seed B: "Max 500 chars"


class Room(NamedTuple):
    """How many images a property has, and how many its plan allows."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


def images(property: Property) -> list[Image]:
    """Return the gallery in its order."""
    return list(
        db.session.scalars(select(Image).where(Image.property_id == property.id).order_by(Image.position))
    )


def find(property: Property, uuid: str) -> Image:
    """Return one image of this property. Raises NotFound; one of another property is absent too."""
    image = db.session.scalar(
        select(Image).where(Image.property_id == property.id, Image.uuid == as_uuid(uuid))
    )
    if image is None:
        raise NotFound("There is no such photo.", code="image_not_found")
    return image


def room(property: Property) -> Room:
    """Count confirmed images against the plan (contract.md, B1). Exact only while the property is locked."""
    used = db.session.scalar(select(func.count()).where(Image.property_id == property.id)) or 0
    return Room(used, property.workspace.plan.images_per_property)


def demand_room(property: Property, wanted: int) -> None:
    """Raise OverQuota where the plan has no room for this many more; the details name the numbers."""
    used, limit = room(property)
    if used + wanted > limit:
        raise OverQuota(
            f"This property has {used} of the {limit} photos that the plan allows; there is no room for {wanted} more.",
            details={"limit": "imagesPerProperty", "max": limit, "used": used, "requested": wanted},
        )


def append(property: Property, image: Image) -> None:
    """Put a new image at the end; the first one of a property is its cover (X6). Under the property's lock.

    Raises OverQuota: this is where the plan's number holds, whatever was promised before.
    """
    demand_room(property, 1)
    image.position = room(property).used  # positions are 0…n−1 without gaps (B13)
    image.is_main = not db.session.scalar(
        select(Image.id).where(Image.property_id == property.id, Image.is_main)
    )
    db.session.add(image)
    changed(property)


def changed(property: Property) -> None:
    """Note that the gallery is another one now. Under the property's lock."""
    property.gallery_version += 1
    db.session.flush()


def describe(property: Property, uuid: str, alt_text: str | None) -> Image:
    """Set an image's description; an empty one is none (B22). Raises Invalid, NotFound."""
    text = checked_alt_text(alt_text)
    image = find(property, uuid)
    with work():
        if not (lock(property) and lock(image)):
            raise NotFound("There is no such photo.", code="image_not_found")
        if image.alt_text != text:
            image.alt_text = text
            changed(property)
    return image


def checked_alt_text(text: str | None) -> str | None:
    """Return a description as it is kept: None for an empty one. Raises Invalid past 500 characters."""
    if text is not None and len(text) > MAX_ALT_TEXT_LENGTH:
        raise Invalid(
            f"A description has at most {MAX_ALT_TEXT_LENGTH} characters; this one has {len(text)}.",
            code="alt_text",
        )
    return text if text and text.strip() else None
