"""Order and cover: the whole list at once for programs, one move at a time for people."""

from collections.abc import Sequence

from portal.db import as_uuid
from portal.errors import Conflict, Invalid
from portal.images import gallery
from portal.images.models import Property
from portal.work import work


def reorder(property: Property, uuids: Sequence[str], *, if_version: int | None = None) -> None:
    """Put the named images first, in this order; the others keep theirs behind them (contract.md, B14).

    Raises Invalid for one that is named twice or isn't here, Conflict where the gallery is not `if_version`.
    """
    wanted = [as_uuid(uuid) for uuid in uuids]
    with work() as w:
        rows = gallery.hold(property, if_version)
        here = {image.uuid: image for image in rows}
        if len(set(wanted)) < len(wanted) or not here.keys() >= set(wanted):
            raise Invalid("Each image is named once, and belongs to this property.", code="image_ids")
        order = [here.pop(uuid) for uuid in wanted] + list(here.values())
        gallery.place(w, property, gallery.state_of(rows), order)


def move(property: Property, uuid: str, after: str | None) -> None:
    """Put one image behind another, or first; relative, so that two people's moves both hold (ux, 3.6).

    Who comes first becomes the cover, and who was the cover and leaves the first place is it no more.
    Raises Conflict where either of the two is gone.
    """
    with work() as w:
        rows = gallery.hold(property)
        here = {image.uuid: image for image in rows}
        moved, anchor = here.get(as_uuid(uuid)), here.get(as_uuid(after or ""))
        if moved is None or (after and anchor is None):
            raise Conflict("That photo is gone. Here is the gallery as it is now.", code="gallery_changed")
        order = [image for image in rows if image is not moved]
        order.insert(order.index(anchor) + 1 if anchor and anchor is not moved else 0, moved)
        cover = order[0] if moved.is_main or order[0] is moved else None
        gallery.place(w, property, gallery.state_of(rows), order, cover)


def move_to(property: Property, uuid: str, position: int) -> None:
    """Put one image at a place, counted from 0; past the end is last. Raises Conflict where it is gone."""
    others = [str(image.uuid) for image in gallery.listed(property) if image.uuid != as_uuid(uuid)]
    place = max(0, min(position, len(others)))
    move(property, uuid, after=others[place - 1] if place else None)


def make_cover(property: Property, uuid: str) -> None:
    """Make an image the cover, and the first (contract.md, X6). Raises Conflict where it is gone."""
    move(property, uuid, after=None)
