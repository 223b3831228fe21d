"""What came of the downloads becomes rows: copies are shown, failures have a reason, old objects go."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from portal import storage
from portal.db import db, now
from portal.listings import standing
from portal.listings.detection import VERIFY_EVERY
from portal.listings.download import Copy, Errand, Found
from portal.listings.models import Listing, ListingImage
from portal.webhooks import events
from portal.work import Work, work

log = logging.getLogger(__name__)


def note(outcomes: Sequence[tuple[Errand, Found]]) -> None:
    """Write down what came of some errands, in one change, under the locks of their listings."""
    with work() as w:
        for _, found in outcomes:
            for key in found.copy.put if found.copy else ():
                w.adopt(storage.cdn, key)
        ids = {errand.listing_id for errand, _ in outcomes}
        held = select(Listing).where(Listing.id.in_(ids)).order_by(Listing.id).with_for_update(of=Listing)
        listings = {listing.id: listing for listing in db.session.scalars(held)}
        rows = select(ListingImage).where(ListingImage.listing_id.in_(listings))
        images: dict[int, list[ListingImage]] = {}
        for image in db.session.scalars(rows.with_for_update(of=ListingImage).order_by(ListingImage.id)):
            images.setdefault(image.listing_id, []).append(image)
        for errand, found in outcomes:
            listing = listings.get(errand.listing_id)
            its_images = images.get(errand.listing_id, [])
            if listing is None or not _settle(w, listing, its_images, errand, found):
                w.drop(storage.cdn, *(found.copy.put if found.copy else ()))
        for listing in listings.values():
            _tell(w, listing, images.get(listing.id, []))
        standing.recount(list(listings))


def _settle(w: Work, listing: Listing, images: Sequence[ListingImage], errand: Errand, found: Found) -> bool:
    """Note an outcome on its rows; False where the switch went off meanwhile: skipped, and no failure (A10)."""
    wanted = {target.image_id for target in errand.targets}
    mine = [image for image in images if image.id in wanted]
    for image in mine:
        image.fetching_until = None
    if not listing.account.definition.enable_images_cdn:
        for image in mine:
            image.next_at = None
        return False
    before = [image.key for image in mine if image.key]
    for image in mine:
        if found.copy:
            _show(image, found.copy, images)
            listing.has_news = listing.has_news or image.key not in before
        elif found.is_unchanged:
            _verified(image)
        elif found.again_in_s is not None:
            image.attempts -= found.is_ours
            image.next_at = now() + timedelta(seconds=found.again_in_s)
        else:
            image.failure_reason = found.reason
            image.next_at = now() + VERIFY_EVERY if image.key else None  # a good copy is served on (A9)
            log.warning("no copy of listing image %s: %s", image.uuid, found.reason)
        if image.superseded_at:
            image.next_at = None
    named = {image.key for image in images}
    w.drop(storage.cdn, *{key for key in (*before, *(found.copy.put if found.copy else ())) if key not in named})
    return True


def _show(image: ListingImage, copy: Copy, images: Sequence[ListingImage]) -> None:
    """Have a row name its copy: the one that its listing has of these bytes already, where there is one."""
    same = (each for each in images if each.type == image.type and each.image_hash == copy.image_hash and each.key)
    image.key = next((each.key for each in same), copy.keys[image.id])
    image.image_hash = copy.image_hash
    image.original_bytes, image.delivered_bytes = copy.original_bytes, copy.delivered_bytes
    image.width, image.height = copy.picture.width, copy.picture.height
    image.etag, image.last_modified = copy.etag, copy.last_modified
    _verified(image)


def _verified(image: ListingImage) -> None:
    image.failure_reason, image.attempts = None, 0
    image.last_checked_at, image.next_at = now(), now() + VERIFY_EVERY


def _tell(w: Work, listing: Listing, images: Sequence[ListingImage]) -> None:
    """Tell of a listing's new copies once, with the last of those that wait (contract.md, X13)."""
    if listing.has_news and not any(image.next_at and not image.key for image in images):
        listing.has_news, listing.copied_at = False, now()
        told = {"listingId": str(listing.uuid), "externalId": listing.external_id}
        events.emit(w, listing.workspace_id, events.LISTING_IMAGES_UPDATED, told)
