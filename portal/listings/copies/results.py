"""Recording the results of downloads: copies become visible, failures get a reason, old objects are dropped."""

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import select

from portal import inventory
from portal.db import db, now
from portal.dispatch import Results
from portal.garbage import LEASE, Garbage
from portal.infra import jobs, storage
from portal.listings import counts
from portal.listings.copies.fetch import Copy, FetchResult, Task
from portal.listings.models import VERIFY_EVERY, WITH_ACCOUNT, Listing, ListingImage
from portal.webhooks import events
from portal.work import Work, for_update, lock, work

log = logging.getLogger(__name__)


def record(results: Results[Task, FetchResult]) -> None:
    """Record the results of some tasks, in one transaction per listing."""
    by_listing: dict[int, list[tuple[Task, FetchResult]]] = {}
    for task, result in results:
        by_listing.setdefault(task.listing_id, []).append((task, result))
    for listing_id, outcomes in by_listing.items():
        _record_listing(listing_id, outcomes)


def emit_when_complete(w: Work, listing: Listing, images: Sequence[ListingImage]) -> None:
    """Emit `listing.images.updated` once a listing's new pictures are all processed. Call it under the listing's lock.

    While the Image CDN is off, new copies are invisible; the event follows when it is on again.
    """
    is_cdn_on = listing.account.definition.enable_images_cdn
    if is_cdn_on and listing.has_new_copies and not any(image.next_at and not image.key for image in images):
        listing.has_new_copies, listing.copied_at = False, now()
        data = {"listingID": str(listing.uuid), "externalID": listing.external_id}
        events.emit(w, listing.workspace_id, events.LISTING_IMAGES_UPDATED, data)


def _record_listing(listing_id: int, outcomes: Sequence[tuple[Task, FetchResult]]) -> None:
    with work() as w:
        written = {each.key: each for _, result in outcomes if result.copy for each in result.copy.put}
        listing = db.session.get(Listing, listing_id, options=[WITH_ACCOUNT])
        if listing is None or not lock(listing):
            return w.drop(storage.cdn, *written)
        rows = select(ListingImage).where(ListingImage.listing_id == listing_id).order_by(ListingImage.id)
        images = db.session.scalars(for_update(rows, ListingImage)).all()
        before = {image.id: image.key for image in images if image.key}
        found = {key: damage for _, result in outcomes for key, damage in result.damages.items()}
        inventory.mark(storage.cdn, found)
        damaged = _known_damage(images, outcomes, found) - written.keys()
        outcomes = [(task, _unless_being_deleted(result, before.values())) for task, result in outcomes]
        for task, result in outcomes:
            _record_images(listing, images, task, result, damaged)
        if _make_damaged_due(images, outcomes, damaged):
            w.enqueue(jobs.image_cdn_upload())
        named = {image.key for image in images}
        w.record(*(each for key, each in written.items() if key in named))
        replaced = _replace(before, images, damaged)
        w.drop(storage.cdn, *({*before.values(), *written} - named - replaced))
        emit_when_complete(w, listing, images)
        counts.refresh([listing_id])
    return None


def _known_damage(
    images: Sequence[ListingImage], outcomes: Sequence[tuple[Task, FetchResult]], found: Mapping[str, str]
) -> set[str]:
    """Return the damaged ones among the copies that these results are about."""
    ids = {target.image_id for task, _ in outcomes for target in task.targets}
    hashes = {result.copy.image_hash for _, result in outcomes if result.copy}
    keys = {image.key for image in images if image.key and (image.id in ids or image.image_hash in hashes)}
    return inventory.damaged_among(storage.cdn, [*keys, *found]) if keys or found else set()


def _make_damaged_due(
    images: Sequence[ListingImage], outcomes: Sequence[tuple[Task, FetchResult]], damaged: Container[str | None]
) -> bool:
    """Make the images due whose copies were found to be damaged only now; return whether there are any.

    A task that began before that may have left its copy as it is. Failures are retried in their own time.
    """
    failed = {
        target.image_id
        for task, result in outcomes
        if not (result.copy or result.is_unchanged)
        for target in task.targets
    }
    due = [
        image
        for image in images
        if image.key in damaged and not (image.id in failed or image.superseded_at or image.fetching_until)
    ]
    for image in due:
        image.next_at = now()
    return bool(due)


def _replace(before: Mapping[int, str], images: Sequence[ListingImage], damaged: Container[str]) -> set[str]:
    """Have the copies that took the place of damaged ones answer under the old addresses too; return the old keys."""
    named = {image.key for image in images}
    successors = {
        before[image.id]: image.key
        for image in images
        if image.key and image.id in before and before[image.id] in damaged and before[image.id] not in named
    }
    for old_key, key in successors.items():
        inventory.replace(storage.cdn, old_key, key)
    return set(successors)


def _unless_being_deleted(result: FetchResult, before: Iterable[str]) -> FetchResult:
    """Take a copy's objects off the garbage list; if one is being deleted right now, store the copy again later."""
    named = set(result.copy.keys.values()).difference(before) if result.copy else set()
    if named and _reclaim_from_garbage(list(named)):
        return FetchResult(retry_in_s=LEASE.total_seconds(), is_our_fault=True)
    return result


def _reclaim_from_garbage(keys: Sequence[str]) -> bool:
    """Take objects off the garbage list; return whether any of them is being deleted right now.

    Only a copy's key can come back from there, because it is derived from the content.
    """
    garbage = select(Garbage).where(Garbage.bucket == storage.cdn.role, Garbage.key.in_(keys)).order_by(Garbage.id)
    rows = db.session.scalars(for_update(garbage, Garbage)).all()
    for row in rows:
        if row.next_at <= now():
            db.session.delete(row)
    return any(row.next_at > now() for row in rows)


def _record_images(
    listing: Listing, images: Sequence[ListingImage], task: Task, result: FetchResult, damaged: Container[str]
) -> None:
    """Record a result on its rows. If the Image CDN was switched off meanwhile, skip it without a failure.

    See tests/contracts/README.md, "Switching off".
    """
    target_ids = {target.image_id for target in task.targets}
    is_cdn_on = listing.account.definition.enable_images_cdn
    for image in images:
        if image.id not in target_ids:
            continue
        image.fetching_until = None
        if is_cdn_on:
            _apply(listing, image, result, [each for each in images if each.key and each.key not in damaged])
        else:
            image.attempts, image.next_at = 0, now()  # picked when the Image CDN is on again
        if image.superseded_at:
            image.next_at = None


def _apply(listing: Listing, image: ListingImage, result: FetchResult, copied: Sequence[ListingImage]) -> None:
    if result.copy:
        before = image.key
        _set_copy(image, result.copy, copied)
        listing.has_new_copies = listing.has_new_copies or image.key != before
    elif result.is_unchanged:
        _set_verified(image)
    elif result.retry_in_s is not None:
        image.attempts -= result.is_our_fault
        image.next_at = now() + timedelta(seconds=result.retry_in_s)
    else:
        image.failure_reason, image.attempts = result.reason, 0
        image.next_at = now() + VERIFY_EVERY if image.key else None  # an earlier copy is still served
        log.warning("copy failed: listing_image=%s reason=%s", image.uuid, result.reason)


def _set_copy(image: ListingImage, copy: Copy, copied: Sequence[ListingImage]) -> None:
    """Point a row to its copy, or to an earlier copy of the same bytes if the listing has one."""
    same = (each for each in copied if each.type == image.type and each.image_hash == copy.image_hash)
    image.key = next((each.key for each in same), copy.keys[image.id])
    image.image_hash = copy.image_hash
    image.original_bytes, image.delivered_bytes = copy.original_bytes, copy.delivered_bytes
    image.width, image.height = copy.picture.width, copy.picture.height
    image.etag, image.last_modified = copy.etag, copy.last_modified
    _set_verified(image)


def _set_verified(image: ListingImage) -> None:
    image.failure_reason, image.attempts = None, 0
    image.last_checked_at, image.next_at = now(), now() + VERIFY_EVERY
