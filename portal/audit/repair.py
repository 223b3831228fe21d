"""Repair one damaged object, from whatever is left of it."""

from typing import NamedTuple

from portal import inventory
from portal.db import db
from portal.errors import Invalid, NotFound, TooMany
from portal.images import repair as photos
from portal.images.models import Property
from portal.images.variants.renditions import single_flight
from portal.infra.storage import Bucket
from portal.inventory import COPY, LARGE, ORIGINAL, RENDITION, THUMB, Damaged, Facts
from portal.listings.copies import repair as copies
from portal.webhooks import events
from portal.work import work

FROM_ORIGINAL, FROM_PMS, FROM_LARGE = "from_original", "from_pms", "from_large"
BUSY = "Too many photos are being prepared. Try again in a moment."


class Outcome(NamedTuple):
    """Whether and how an object was repaired, or why it couldn't be."""

    how: str | None = None
    reason: str = ""


def repair(bucket: Bucket, facts: Facts, damage: str, *, from_large: bool = False) -> Outcome:
    """Make a damaged object again, or record that this is impossible.

    A copy is only scheduled: a worker downloads it from the PMS. Raises TooMany if no rendering slot is free in time,
    StorageFailed.
    """
    if facts.kind == COPY:
        copies.schedule(facts.key, damage)
        return Outcome(reason="A worker downloads it again.")
    with single_flight(("repair", facts.key)) as has_slot:
        if not has_slot:
            raise TooMany(BUSY, retry_after_s=2)
        try:
            how = _repair(facts, from_large)
        except (Invalid, Damaged) as problem:
            give_up(bucket, facts, damage, problem.message)
            return Outcome(reason=problem.message)
        except NotFound as gone:  # changed or deleted meanwhile: then this object is no longer needed
            return Outcome(reason=gone.message)
    if how is None:
        reason = f"The {facts.kind} can't be made again."
        give_up(bucket, facts, damage, reason)
        return Outcome(reason=reason)
    return Outcome(how)


def give_up(bucket: Bucket, facts: Facts, damage: str, reason: str) -> None:
    """Record that an object is damaged and can't be repaired; emit image.damaged the first time."""
    with work() as w:
        known = inventory.find(bucket, facts.key)
        if known is None:
            return
        inventory.mark(bucket, {facts.key: damage})
        image = photos.image_of(facts.key, facts.kind)
        if image and known.damage is None:
            home = db.session.get_one(Property, image.property_id)
            data = {
                "propertyId": str(home.uuid),
                "imageId": str(image.uuid),
                "object": facts.kind,
                "kind": damage,
                "reason": reason,
            }
            events.emit(w, home.workspace_id, events.IMAGE_DAMAGED, data)


def _repair(facts: Facts, from_large: bool) -> str | None:
    image = photos.image_of(facts.key, facts.kind)
    if image is None:
        return None
    if facts.kind in (LARGE, THUMB):
        photos.repair_variants(image)
        return FROM_ORIGINAL
    if facts.kind == RENDITION and (rendition := photos.rendition_of(facts.key)):
        photos.repair_rendition(rendition)
        return FROM_ORIGINAL
    if facts.kind == ORIGINAL and from_large:
        photos.restore_original(image)
        return FROM_LARGE
    return None
