"""Listings without a PMS, stored as a sync stores them, with pictures in the states that a test wants."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from portal.accounts.models import Workspace
from portal.db import db, now
from portal.listings import counts, integrations
from portal.listings.catalogue import COPIED, FAILED, WAITING
from portal.listings.models import IntegrationAccount, Listing, ListingImage
from portal.listings.providers.base import FoundListing, Picture
from portal.listings.sync import upsert
from portal.work import lock, work

BUSY = "busy"
NOT_FOUND = "PMS image returns 404"


def account_of(workspace: Workspace, name: str = "Alma", *, enabled: bool = True) -> IntegrationAccount:
    """A Hostaway account that is never synced; its last sync was the day before yesterday."""
    integrations.switch_image_cdn(workspace, "hostaway", enabled=enabled)
    account = integrations.connect(workspace, "hostaway", {"clientId": name, "clientSecret": "secret"}, name=name)
    with work():
        account.synced_at, account.next_at = now() - timedelta(days=2), now() + timedelta(minutes=15)
    return account


def listing_of(
    account: IntegrationAccount,
    *states: str,
    name: str = "Heron House",
    host: str = "cdn.example",
    reason: str = NOT_FOUND,
) -> Listing:
    """A listing with one picture per state: COPIED, WAITING, FAILED, or BUSY (being fetched)."""
    with work() as w:
        lock(account)
        external_id = str(100 + (db.session.scalar(select(func.count(Listing.id))) or 0))
        pictures = tuple(Picture(f"https://{host}/{external_id}/{n}.jpg") for n in range(len(states)))
        (listing_id,) = upsert.store_listings(w, account, [FoundListing(external_id, name, None, pictures)])
        for image, state in zip(_images(listing_id), states, strict=False):
            _put(image, state, reason)
        db.session.flush()
        counts.refresh([listing_id])
    return db.session.get_one(Listing, listing_id)


def images(listing: Listing) -> list[ListingImage]:
    """Its records, by position."""
    return _images(listing.id)


def _images(listing_id: int) -> list[ListingImage]:
    mine = select(ListingImage).where(ListingImage.listing_id == listing_id)
    return list(db.session.scalars(mine.order_by(ListingImage.position)))


def _put(image: ListingImage, state: str, reason: str) -> None:
    image.attempts = 1
    if state == COPIED:
        image.key, image.next_at = f"copies/{image.uuid}.jpg", now() + timedelta(days=7)
    elif state == FAILED:
        image.failure_reason, image.next_at = reason, None
    elif state == BUSY:
        image.fetching_until = image.next_at = now() + timedelta(seconds=90)
    else:
        assert state == WAITING
