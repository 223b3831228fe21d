"""Listings that are gone: seen by nobody at once, and deleted with their objects by a worker, one by one (A15)."""

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, delete, select, update

from portal import jobs, storage
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.errors import NotFound
from portal.listings.models import IntegrationAccount, Listing, ListingImage, SyncPage, prefix_of
from portal.work import Work, held, lock, quietly, work

CLEAR_FOR_S = 10  # imports wait in the same queue
BATCH = 500
SUPERSEDED_KEPT = timedelta(days=30)  # copies of pictures that the PMS doesn't name any more (A8)


def remove_account(account: IntegrationAccount) -> None:
    """Forget an account: nobody sees it or its listings from now on; a worker deletes them, and their copies.

    One row is changed, however many listings there are. Raises NotFound when somebody was first.
    """
    with work() as w:
        if not lock(account):
            raise NotFound("There is no such account.", code="account_not_found")
        account.definition_id = account.next_at = account.credentials = account.token = None
        w.enqueue(jobs.clear_leftovers())


def remove_missing(w: Work, account: IntegrationAccount) -> None:
    """End a whole sync: mark the listings that it did not see; remove those that the one before missed too.

    Twice, because pages are counted by offset: where a listing goes while they are read, another is skipped.
    """
    pages = select(SyncPage.listing_ids).where(SyncPage.account_id == account.id)
    seen = {listing_id for ids in db.session.scalars(pages) for listing_id in ids}
    mine = select(Listing.id, Listing.missing_since).where(Listing.account_id == account.id).order_by(Listing.id)
    unseen = [row for row in db.session.execute(mine) if row.id not in seen]
    gone = [row.id for row in unseen if row.missing_since is not None]
    marked = [row.id for row in unseen if row.missing_since is None]
    if gone:
        _hand_over(w, account, gone)
    for ids in _batches(marked):
        _hold(ids)
        db.session.execute(update(Listing).where(Listing.id.in_(ids)).values(missing_since=now()))


def clear_leftovers() -> int:
    """Delete what is left of accounts that were removed, for a while; return how many objects that were.

    One listing after the other: others may write in between, and no import waits for long behind ten thousand.
    """
    end, count = time.monotonic() + CLEAR_FOR_S, 0
    while account_id := db.session.scalar(_removed()):
        count += _clear_one(account_id)
        if time.monotonic() > end:
            quietly(jobs.enqueue, jobs.clear_leftovers())
            break
    db.session.rollback()
    return count


def ring_again() -> None:
    """Ring where something is left of accounts that were removed."""
    if db.session.scalar(_removed()):
        jobs.enqueue_missing([jobs.clear_leftovers()])


def forget_superseded() -> int:
    """Drop the copies of pictures that the PMS has not named for SUPERSEDED_KEPT; their records stay. Nightly."""
    count = 0
    old = select(ListingImage).where(
        ListingImage.superseded_at < now() - SUPERSEDED_KEPT, ListingImage.key.is_not(None)
    )
    while True:
        with work() as w:
            images = list(db.session.scalars(held(old.limit(BATCH), ListingImage, skip_locked=True)))
            for image in images:
                w.drop(storage.cdn, image.key if not _is_shared(image) else None)
                image.key = image.image_hash = image.delivered_bytes = None
        count += len(images)
        if len(images) < BATCH:
            return count


def _is_shared(image: ListingImage) -> bool:
    others = select(ListingImage.id).where(ListingImage.key == image.key, ListingImage.id != image.id)
    return db.session.scalar(others.limit(1)) is not None


def _hand_over(w: Work, account: IntegrationAccount, listing_ids: Sequence[int]) -> None:
    """Give listings to an account that was removed, and with it they go: there may be thousands."""
    removed = IntegrationAccount(definition_id=None, name=account.name, host=account.host, next_at=None)
    db.session.add(removed)
    db.session.flush()
    for ids in _batches(listing_ids):
        _hold(ids)
        db.session.execute(update(Listing).where(Listing.id.in_(ids)).values(account_id=removed.id))
    w.enqueue(jobs.clear_leftovers())


def _hold(listing_ids: Sequence[int]) -> None:
    """In the order in which everybody locks them."""
    mine = select(Listing.id).where(Listing.id.in_(listing_ids)).order_by(Listing.id)
    db.session.scalars(held(mine, Listing)).all()


def _removed() -> Select[int]:
    return select(IntegrationAccount.id).where(IntegrationAccount.definition_id.is_(None)).limit(1)


def _clear_one(account_id: int) -> int:
    """Delete a listing of an account that was removed, or the account when it has none; return how many objects.

    Objects first: as long as there is the row, whoever comes next knows of them.
    """
    mine = select(Listing.id, Listing.uuid, Workspace.uuid).join(Workspace, Listing.workspace_id == Workspace.id)
    found = db.session.execute(mine.where(Listing.account_id == account_id).limit(1)).first()
    if found is None:
        with work():
            db.session.execute(delete(IntegrationAccount).where(IntegrationAccount.id == account_id))
        return 0
    listing_id, uuid, workspace_uuid = found
    db.session.rollback()  # no connection is held while the bucket is asked
    keys = [stored.key for stored in storage.cdn.list(prefix_of(workspace_uuid, uuid))]
    storage.cdn.delete(*keys)
    with work():
        db.session.execute(delete(Listing).where(Listing.id == listing_id))
    return len(keys)


def _batches(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)]
