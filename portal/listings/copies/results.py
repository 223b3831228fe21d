"""What came of the downloads becomes rows: copies are shown, failures have a reason, old objects go."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from portal.db import db, now
from portal.dispatch import Results
from portal.garbage import LEASE, Garbage
from portal.infra import storage
from portal.listings import counts
from portal.listings.copies.fetch import Copy, FetchResult, Task
from portal.listings.models import VERIFY_EVERY, WITH_ACCOUNT, Listing, ListingImage
from portal.webhooks import events
from portal.work import Work, held, lock, work

log = logging.getLogger(__name__)


def record(results: Results[Task, FetchResult]) -> None:
    """Write down what came of some tasks, all those of one listing in one change."""
    by_listing: dict[int, list[tuple[Task, FetchResult]]] = {}
    for task, found in results:
        by_listing.setdefault(task.listing_id, []).append((task, found))
    for listing_id, its in by_listing.items():
        _record_listing(listing_id, its)


def tell(w: Work, listing: Listing, images: Sequence[ListingImage]) -> None:
    """Tell of a listing's new copies once, with the last of those that wait (contract.md, X13). Under its lock.

    While the switch is off they are shown to nobody, and told of when it is on again.
    """
    is_on = listing.account.definition.enable_images_cdn
    if is_on and listing.has_news and not any(image.next_at and not image.key for image in images):
        listing.has_news, listing.copied_at = False, now()
        told = {"listingID": str(listing.uuid), "externalID": listing.external_id}
        events.emit(w, listing.workspace_id, events.LISTING_IMAGES_UPDATED, told)


def _record_listing(listing_id: int, outcomes: Sequence[tuple[Task, FetchResult]]) -> None:
    with work() as w:
        put = [key for _, found in outcomes if found.copy for key in found.copy.put]
        listing = db.session.get(Listing, listing_id, options=[WITH_ACCOUNT])
        if listing is None or not lock(listing):
            return w.drop(storage.cdn, *put)
        rows = select(ListingImage).where(ListingImage.listing_id == listing_id).order_by(ListingImage.id)
        images = db.session.scalars(held(rows, ListingImage)).all()
        before = [image.key for image in images]
        for task, found in outcomes:
            _record_images(listing, images, task, _kept(found, before))
        named = {image.key for image in images}
        w.drop(storage.cdn, *({*before, *put} - named))
        tell(w, listing, images)
        counts.refresh([listing_id])
    return None


def _kept(found: FetchResult, before: Sequence[str | None]) -> FetchResult:
    """Keep a copy whose name was garbage; where it is being deleted in this moment, store it again later."""
    named = set(found.copy.keys.values()).difference(before) if found.copy else set()
    if named and _is_leaving(list(named)):
        return FetchResult(again_in_s=LEASE.total_seconds(), is_ours=True)
    return found


def _is_leaving(keys: Sequence[str]) -> bool:
    """Take objects out of the garbage that are named again; say whether any of them is just being deleted.

    A copy's name is made of what it holds, so it can come back: no other object's can.
    """
    garbage = select(Garbage).where(Garbage.bucket == storage.cdn.role, Garbage.key.in_(keys)).order_by(Garbage.id)
    rows = db.session.scalars(held(garbage, Garbage)).all()
    for row in rows:
        if row.next_at <= now():
            db.session.delete(row)
    return any(row.next_at > now() for row in rows)


def _record_images(listing: Listing, images: Sequence[ListingImage], task: Task, found: FetchResult) -> None:
    """Note an outcome on its rows. Where the switch went off meanwhile it is skipped, and no failure (A10)."""
    wanted = {target.image_id for target in task.targets}
    is_on = listing.account.definition.enable_images_cdn
    for image in images:
        if image.id not in wanted:
            continue
        image.fetching_until = None
        if is_on:
            _apply(listing, image, found, images)
        else:
            image.attempts, image.next_at = 0, now()  # its turn comes when it is on again
        if image.superseded_at:
            image.next_at = None


def _apply(listing: Listing, image: ListingImage, found: FetchResult, images: Sequence[ListingImage]) -> None:
    if found.copy:
        before = image.key
        _show(image, found.copy, images)
        listing.has_news = listing.has_news or image.key != before
    elif found.is_unchanged:
        _verified(image)
    elif found.again_in_s is not None:
        image.attempts -= found.is_ours
        image.next_at = now() + timedelta(seconds=found.again_in_s)
    else:
        image.failure_reason, image.attempts = found.reason, 0
        image.next_at = now() + VERIFY_EVERY if image.key else None  # a good copy is served on (A9)
        log.warning("no copy of listing image %s: %s", image.uuid, found.reason)


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
