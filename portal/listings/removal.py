"""Listings that are gone: their rows at once, their objects by a worker, however many they are (A15)."""

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update

from portal import jobs, storage
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.errors import NotFound
from portal.listings.models import IntegrationAccount, Leftover, Listing, ListingImage, SyncPage, prefix_of
from portal.work import Work, lock, work

CLEAR_FOR_S = 60
BATCH = 500
SUPERSEDED_KEPT = timedelta(days=30)  # copies of pictures that the PMS doesn't name any more (A8)


def remove_account(account: IntegrationAccount) -> None:
    """Forget an account with its listings and their copies. Raises NotFound when somebody was first."""
    definition = account.definition
    with work() as w:
        if not lock(definition) or not lock(account):  # in this order, as a sync does: a switch waits for neither
            raise NotFound("There is no such account.", code="account_not_found")
        mine = select(Listing.id).where(Listing.account_id == account.id).order_by(Listing.id)
        _leave(w, definition.workspace, list(db.session.scalars(mine.with_for_update(key_share=True))))
        db.session.execute(delete(Listing).where(Listing.account_id == account.id))
        db.session.execute(delete(IntegrationAccount).where(IntegrationAccount.id == account.id))


def remove_missing(w: Work, account: IntegrationAccount) -> None:
    """End a whole sync: mark the listings that it did not see; remove those that the one before missed too.

    Twice, because pages are counted by offset: where a listing goes while they are read, another is skipped.
    """
    pages = select(SyncPage.listing_ids).where(SyncPage.account_id == account.id)
    seen = {listing_id for ids in db.session.scalars(pages) for listing_id in ids}
    mine = select(Listing.id, Listing.missing_since).where(Listing.account_id == account.id)
    unseen = [row for row in db.session.execute(mine) if row.id not in seen]
    gone = [row.id for row in unseen if row.missing_since is not None]
    marked = [row.id for row in unseen if row.missing_since is None]
    for ids in _batches(gone):
        _leave(w, account.definition.workspace, ids)
        db.session.execute(delete(Listing).where(Listing.id.in_(ids)))
    for ids in _batches(marked):
        db.session.execute(update(Listing).where(Listing.id.in_(ids)).values(missing_since=now()))


def clear_leftovers() -> int:
    """Delete the objects of listings that are gone, for a minute at most; return how many were deleted."""
    end, count = time.monotonic() + CLEAR_FOR_S, 0
    while time.monotonic() < end:
        leftover = db.session.execute(select(Leftover.id, Leftover.prefix).order_by(Leftover.id).limit(1)).first()
        if leftover is None:
            break
        for stored in storage.cdn.list(leftover.prefix):
            storage.cdn.delete(stored.key)
            count += 1
        with work():
            db.session.execute(delete(Leftover).where(Leftover.id == leftover.id))
    db.session.rollback()
    return count


def ring_again() -> None:
    """Ring where objects of listings that are gone wait to be deleted."""
    if db.session.scalar(select(Leftover.id).limit(1)):
        for lost in jobs.lost([jobs.clear_leftovers()]):
            jobs.enqueue(lost)


def forget_superseded() -> int:
    """Drop the copies of pictures that the PMS has not named for SUPERSEDED_KEPT; their records stay. Nightly."""
    count = 0
    old = select(ListingImage).where(
        ListingImage.superseded_at < now() - SUPERSEDED_KEPT, ListingImage.key.is_not(None)
    )
    while True:
        with work() as w:
            images = list(
                db.session.scalars(old.limit(BATCH).with_for_update(key_share=True, skip_locked=True, of=ListingImage))
            )
            for image in images:
                w.drop(storage.cdn, image.key if not _is_shared(image) else None)
                image.key = image.image_hash = image.delivered_bytes = None
        count += len(images)
        if len(images) < BATCH:
            return count


def _is_shared(image: ListingImage) -> bool:
    others = select(ListingImage.id).where(ListingImage.key == image.key, ListingImage.id != image.id)
    return db.session.scalar(others.limit(1)) is not None


def _leave(w: Work, workspace: Workspace, listing_ids: Sequence[int]) -> None:
    """Note what is to be deleted of these listings; nothing of it is shown from the commit on."""
    for ids in _batches(listing_ids):
        for uuid in db.session.scalars(select(Listing.uuid).where(Listing.id.in_(ids))):
            db.session.add(Leftover(prefix=prefix_of(workspace.uuid, uuid)))
    if listing_ids:
        db.session.flush()
        w.enqueue(jobs.clear_leftovers())


def _batches(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)]
