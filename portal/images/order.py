"""Order and cover: programs send the whole order, people move one image at a time."""

from collections.abc import Sequence

from portal.db import as_uuid
from portal.errors import Conflict, Invalid
from portal.images import gallery
from portal.images.models import Property
from portal.work import work


def reorder(property: Property, uuids: Sequence[str], *, if_version: int | None = None) -> None:
    """Move the listed images to the front, in this order; the others follow in their current order.

    Raises Invalid for an image that is listed twice or isn't in the gallery, Conflict if the gallery's version is not
    `if_version`.
    """
    wanted = [as_uuid(uuid) for uuid in uuids]
    with work() as w:
        rows = gallery.lock_images(property, if_version)
        others = {image.uuid: image for image in rows}
        if len(set(wanted)) < len(wanted) or not others.keys() >= set(wanted):
            raise Invalid("Each image may be listed only once and must belong to this property.", code="image_ids")
        order = [others.pop(uuid) for uuid in wanted] + list(others.values())
        gallery.set_order_and_cover(w, property, gallery.state_of(rows), order)


def move(property: Property, uuid: str, after: str | None) -> None:
    """Move an image directly after another one, or to the front. Relative, so that two people's moves both take effect.

    An image moved to the front becomes the cover; if the cover is moved away from the front, the new first image
    becomes the cover. Raises Conflict if either image no longer exists.
    """
    with work() as w:
        rows = gallery.lock_images(property)
        by_uuid = {image.uuid: image for image in rows}
        moved, anchor = by_uuid.get(as_uuid(uuid)), by_uuid.get(as_uuid(after or ""))
        if moved is None or (after and anchor is None):
            raise Conflict("That photo no longer exists. Here is the current gallery.", code="gallery_changed")
        order = [image for image in rows if image is not moved]
        order.insert(order.index(anchor) + 1 if anchor and anchor is not moved else 0, moved)
        cover = order[0] if moved.is_main or order[0] is moved else None
        gallery.set_order_and_cover(w, property, gallery.state_of(rows), order, cover)


def move_to(property: Property, uuid: str, position: int) -> None:
    """Move an image to a zero-based position, clamped to the gallery. Raises Conflict if it no longer exists."""
    others = [str(image.uuid) for image in gallery.list_images(property) if image.uuid != as_uuid(uuid)]
    position = max(0, min(position, len(others)))
    move(property, uuid, after=others[position - 1] if position else None)


def make_cover(property: Property, uuid: str) -> None:
    """Make an image the cover and move it to the front. Raises Conflict if it no longer exists."""
    move(property, uuid, after=None)
