"""Removal of listings: hidden immediately; a worker then deletes the rows and their objects in small batches."""

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, delete, exists, select, update

from portal.db import db, now, release
from portal.errors import NotFound
from portal.infra import jobs, storage
from portal.listings.models import WITH_REMOVED, IntegrationAccount, Listing, ListingImage, SyncPage
from portal.work import Work, held, lock, quietly, work

CLEAR_FOR_S = 10  # imports share this queue
BATCH = 500
CLEAR_BATCH = 50  # listings per transaction, usually with a few thousand pictures at most
SUPERSEDED_KEPT = timedelta(days=30)  # copies of pictures that the PMS no longer lists


def remove_account(account: IntegrationAccount) -> None:
    """Remove an account. It and its listings are hidden immediately; a worker deletes them and their copies later.

    Changes a single row, however many listings there are. Raises NotFound if it is already removed.
    """
    with work() as w:
        if not lock(account) or account.removed_at:
            raise NotFound("There is no such account.", code="account_not_found")
        account.removed_at = now()
        account.next_at = account.credentials = account.token = None
        w.enqueue(jobs.clear_leftovers())


def remove_missing(w: Work, account: IntegrationAccount) -> None:
    """After a complete sync, mark the listings that it did not see; remove those that the previous one missed too.

    One miss is not enough, because pages are cut by offset: if a listing disappears while they are read, another one
    is skipped.
    """
    pages = select(SyncPage.listing_ids).where(SyncPage.account_id == account.id)
    seen = {listing_id for ids in db.session.scalars(pages) for listing_id in ids}
    rows = select(Listing.id, Listing.missing_since).where(Listing.account_id == account.id).order_by(Listing.id)
    unseen = [row for row in db.session.execute(rows) if row.id not in seen]
    gone = [row.id for row in unseen if row.missing_since is not None]
    marked = [row.id for row in unseen if row.missing_since is None]
    if gone:
        _move_to_removed_account(w, account, gone)
    for ids in _batches(marked):
        _lock_listings(ids)
        db.session.execute(update(Listing).where(Listing.id.in_(ids)).values(missing_since=now()))


def clear_leftovers() -> int:
    """Delete listings of removed accounts for up to CLEAR_FOR_S; return how many were deleted.

    Small batches let other writers in between; the time limit keeps imports from queueing behind thousands of listings.
    """
    end, count = time.monotonic() + CLEAR_FOR_S, 0
    while account_id := db.session.scalar(_removed_account()):
        count += _clear_batch(account_id)
        if time.monotonic() > end:
            quietly(jobs.enqueue, jobs.clear_leftovers())
            break
    release()
    return count


def enqueue_missing() -> None:
    """Enqueue the cleanup job if a removed account still has rows."""
    if db.session.scalar(_removed_account()):
        jobs.enqueue_missing([jobs.clear_leftovers()])


def drop_superseded_copies() -> int:
    """Drop copies of pictures that the PMS has not listed for SUPERSEDED_KEPT, but keep their rows.

    Runs nightly. Returns how many rows lost their copy.
    """
    count = 0
    old = select(ListingImage).where(
        ListingImage.superseded_at < now() - SUPERSEDED_KEPT, ListingImage.key.is_not(None)
    )
    while True:
        with work() as w:
            images = list(db.session.scalars(held(old.limit(BATCH), ListingImage, skip_locked=True)))
            keys = {image.key for image in images}
            for image in images:
                image.key = image.image_hash = image.delivered_bytes = None
            db.session.flush()
            shared = set(db.session.scalars(select(ListingImage.key).where(ListingImage.key.in_(keys))))
            w.drop(storage.cdn, *(keys - shared))
        count += len(images)
        if len(images) < BATCH:
            return count


def _move_to_removed_account(w: Work, account: IntegrationAccount, listing_ids: Sequence[int]) -> None:
    """Move listings to a removed account, so that the cleanup job deletes them: there may be thousands."""
    removed = IntegrationAccount(
        definition_id=account.definition_id, name=account.name, host=account.host, next_at=None, removed_at=now()
    )
    db.session.add(removed)
    db.session.flush()
    for ids in _batches(listing_ids):
        _lock_listings(ids)
        db.session.execute(update(Listing).where(Listing.id.in_(ids)).values(account_id=removed.id))
    w.enqueue(jobs.clear_leftovers())


def _lock_listings(listing_ids: Sequence[int]) -> None:
    """Lock listings by ascending id, the order that every transaction uses."""
    query = select(Listing.id).where(Listing.id.in_(listing_ids)).order_by(Listing.id)
    db.session.scalars(held(query, Listing)).all()


def _removed_account() -> Select[int]:
    removed = select(IntegrationAccount.id).where(IntegrationAccount.removed_at.is_not(None)).limit(1)
    return removed.execution_options(**WITH_REMOVED)


def _clear_batch(account_id: int) -> int:
    """Delete a batch of a removed account's listings and their copies, and the account itself after the last one."""
    batch = select(Listing.id).where(Listing.account_id == account_id).order_by(Listing.id).limit(CLEAR_BATCH)
    with work() as w:
        ids = list(db.session.scalars(held(batch, Listing).execution_options(**WITH_REMOVED)))
        copies = select(ListingImage.key).where(ListingImage.listing_id.in_(ids), ListingImage.key.is_not(None))
        w.drop(storage.cdn, *set(db.session.scalars(copies)))
        db.session.execute(delete(Listing).where(Listing.id.in_(ids)))
        # A transaction that held the lock may have added listings
        empty = ~exists().where(Listing.account_id == account_id)
        db.session.execute(delete(IntegrationAccount).where(IntegrationAccount.id == account_id, empty))
    return len(ids)


def _batches(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)]
