"""Listings that are gone: seen by nobody at once, and deleted with their objects by a worker, one by one (A15)."""

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, delete, exists, select, update

from portal.db import db, now, release
from portal.errors import NotFound
from portal.infra import jobs, storage
from portal.listings.models import WITH_REMOVED, IntegrationAccount, Listing, ListingImage, SyncPage
from portal.work import Work, held, lock, quietly, work

CLEAR_FOR_S = 10  # imports wait in the same queue
BATCH = 500
CLEARED_TOGETHER = 50  # listings, with some thousand pictures at most usually
SUPERSEDED_KEPT = timedelta(days=30)  # copies of pictures that the PMS doesn't name any more (A8)


def remove_account(account: IntegrationAccount) -> None:
    """Forget an account: nobody sees it or its listings from now on; a worker deletes them, and their copies.

    One row is changed, however many listings there are. Raises NotFound when somebody was first.
    """
    with work() as w:
        if not lock(account) or account.removed_at:
            raise NotFound("There is no such account.", code="account_not_found")
        account.removed_at = now()
        account.next_at = account.credentials = account.token = None
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
    """Delete what is left of accounts that were removed, for a while; return how many listings that were.

    Some at a time: others may write in between, and no import waits for long behind ten thousand.
    """
    end, count = time.monotonic() + CLEAR_FOR_S, 0
    while account_id := db.session.scalar(_removed()):
        count += _clear_some(account_id)
        if time.monotonic() > end:
            quietly(jobs.enqueue, jobs.clear_leftovers())
            break
    release()
    return count


def enqueue_missing() -> None:
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
            keys = {image.key for image in images}
            for image in images:
                image.key = image.image_hash = image.delivered_bytes = None
            db.session.flush()
            shared = set(db.session.scalars(select(ListingImage.key).where(ListingImage.key.in_(keys))))
            w.drop(storage.cdn, *(keys - shared))
        count += len(images)
        if len(images) < BATCH:
            return count


def _hand_over(w: Work, account: IntegrationAccount, listing_ids: Sequence[int]) -> None:
    """Give listings to an account that was removed, and with it they go: there may be thousands."""
    removed = IntegrationAccount(
        definition_id=account.definition_id, name=account.name, host=account.host, next_at=None, removed_at=now()
    )
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
    removed = select(IntegrationAccount.id).where(IntegrationAccount.removed_at.is_not(None)).limit(1)
    return removed.execution_options(**WITH_REMOVED)


def _clear_some(account_id: int) -> int:
    """Delete some listings of an account that was removed, with their copies; and the account with the last of them."""
    mine = select(Listing.id).where(Listing.account_id == account_id).order_by(Listing.id).limit(CLEARED_TOGETHER)
    with work() as w:
        ids = list(db.session.scalars(held(mine, Listing).execution_options(**WITH_REMOVED)))
        copies = select(ListingImage.key).where(ListingImage.listing_id.in_(ids), ListingImage.key.is_not(None))
        w.drop(storage.cdn, *set(db.session.scalars(copies)))
        db.session.execute(delete(Listing).where(Listing.id.in_(ids)))
        empty = ~exists().where(Listing.account_id == account_id)  # whom we waited for may have left some
        db.session.execute(delete(IntegrationAccount).where(IntegrationAccount.id == account_id, empty))
    return len(ids)


def _batches(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)]
