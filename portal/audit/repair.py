"""Repair one damaged object, from whatever is left of it."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Row, select

from portal import inventory
from portal.db import db
from portal.errors import Invalid, NotFound, TooMany
from portal.images import repair as photos
from portal.images.models import Image, Property
from portal.images.variants.renditions import single_flight
from portal.infra.storage import Bucket
from portal.inventory import COPY, LARGE, ORIGINAL, RENDITION, THUMB, TYPE, Damaged, Facts, StoredObject
from portal.listings.copies import repair as copies
from portal.pixels.rejection import is_transient
from portal.webhooks import events
from portal.work import lock, work

FROM_ORIGINAL, FROM_PMS, FROM_LARGE = "from_original", "from_pms", "from_large"
SCHEDULED = "A worker downloads it again."
FROM_LARGE_HINT = "An original can't be made again. `audit --repair --from-large` puts its large variant in its place."
BUSY = "Too many photos are being prepared. Try again in a moment."


class Outcome(NamedTuple):
    """How an object was repaired, or why it couldn't be.

    `property_id` is that of the property which shows something new after the repair.
    """

    how: str | None = None
    reason: str = ""
    is_repaired: bool = False
    property_id: int | None = None


def repair(bucket: Bucket, facts: Facts, damage: str, *, from_large: bool = False, announces: bool = True) -> Outcome:
    """Make a damaged object again, or record that this is impossible.

    Emits property.updated if the property then shows something new, unless the caller does it (`announces`). A copy is
    only scheduled: a worker downloads it from the PMS. Raises TooMany if no rendering slot is free in time,
    StorageFailed.
    """
    if damage == TYPE:
        _store_again(bucket, facts)
        return Outcome(is_repaired=True)
    if facts.kind == COPY:
        copies.schedule(facts.key, damage)
        return Outcome(reason=SCHEDULED)
    image = photos.image_of(facts.key, facts.kind)
    image_id, before = (image.id, _addresses(image.id)) if image else (None, None)
    with single_flight(("repair", facts.key)) as has_slot:
        if not has_slot:
            raise TooMany(BUSY, retry_after_s=2)
        current = inventory.find(bucket, facts.key)
        if current and current.replaced_by:  # another thread was faster
            return Outcome(FROM_ORIGINAL, "", True)
        try:
            how = _repair(facts, from_large, announces)
        except (Invalid, Damaged) as problem:
            if not is_transient(problem):
                give_up(bucket, facts, damage, problem.message)
            return Outcome(reason=problem.message)
        except NotFound as gone:  # changed or deleted meanwhile: then this object is no longer needed
            return Outcome(reason=gone.message)
    if how is None:
        reason = f"The {facts.kind} can't be made again."
        give_up(bucket, facts, damage, reason)
        return Outcome(reason=FROM_LARGE_HINT if facts.kind == ORIGINAL else reason)
    after = _addresses(image_id) if image_id else None
    return Outcome(how, "", True, after.property_id if after and after != before else None)


def download_copies(keys: Sequence[str], within_s: float) -> dict[str, Outcome]:
    """Download damaged copies again now, in this process; return an outcome for each key."""
    reasons = copies.repair(keys, within_s)
    return {key: Outcome(reason=reason) if reason else Outcome(FROM_PMS, "", True) for key, reason in reasons.items()}


def give_up(bucket: Bucket, facts: Facts, damage: str, reason: str) -> None:
    """Record that an object is damaged and can't be repaired; emit image.damaged the first time."""
    with work() as w:
        row = db.session.get(StoredObject, (bucket.role, facts.key))
        if row is None or not lock(row):  # of two processes that give it up, the second one sees the first one's mark
            return
        if row.replaced_by:
            return
        is_first = row.damage is None
        inventory.mark(bucket, {facts.key: damage})
        image = photos.image_of(facts.key, facts.kind)
        if image and is_first:
            home = db.session.get_one(Property, image.property_id)
            data = {
                "propertyId": str(home.uuid),
                "imageId": str(image.uuid),
                "object": facts.kind,
                "kind": damage,
                "reason": reason,
            }
            events.emit(w, home.workspace_id, events.IMAGE_DAMAGED, data)


def _repair(facts: Facts, from_large: bool, announces: bool) -> str | None:
    image = photos.image_of(facts.key, facts.kind)
    if image is None:
        return None
    if facts.kind in (LARGE, THUMB):
        undecodable = facts.key if facts.sha256 is None else None
        photos.repair_variants(image, announces=announces, undecodable=undecodable)
        return FROM_ORIGINAL
    if facts.kind == RENDITION and (rendition := photos.rendition_of(facts.key)):
        photos.repair_rendition(rendition, announces=announces, is_undecodable=facts.sha256 is None)
        return FROM_ORIGINAL
    if facts.kind == ORIGINAL and from_large:
        photos.restore_original(image, announces=announces)
        return FROM_LARGE
    return None


def _addresses(image_id: int) -> Row[int, str, str | None, str | None] | None:
    """Return what a property shows of an image; None if it was deleted."""
    columns = Image.property_id, Image.original_key, Image.large_key, Image.thumb_key
    return db.session.execute(select(*columns).where(Image.id == image_id)).first()


def _store_again(bucket: Bucket, facts: Facts) -> None:
    """Store an object's bytes once more with their right type.

    They are written before the change, which would hold a lock while the bucket is slow. If the object was deleted
    meanwhile, it is deleted again: what people deleted must not come back.
    """
    data = inventory.verified(bucket, facts)
    written = inventory.write(bucket, facts.key, data, facts.type, facts.kind)
    with work() as w:
        row = db.session.get(StoredObject, (bucket.role, facts.key))
        if row is None or not lock(row):
            return w.drop(bucket, facts.key)
        inventory.confirm(bucket, [facts._replace(etag=written.etag, size_bytes=len(data))])
    return None
