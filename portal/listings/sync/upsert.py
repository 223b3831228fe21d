"""A page of listings becomes rows: what is new or another is written in bulk, what is the same not at all."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update

from portal.db import db
from portal.listings import counts
from portal.listings.copies import results
from portal.listings.models import WITH_ACCOUNT, IntegrationAccount, Listing, ListingImage
from portal.listings.providers.base import FoundListing, Picture
from portal.listings.sync import detection
from portal.work import Work, held


def take_in(w: Work, account: IntegrationAccount, found: Sequence[FoundListing]) -> list[int]:
    """Store what a page says, and where the Image CDN is on have its pictures copied; return the listings' ids.

    In a fixed number of statements. Under the account's lock.
    """
    by_id = {listing.external_id: listing for listing in found}
    stored = _stored(account, list(by_id))
    new, changes = [], []
    for external_id, listing in by_id.items():
        values = _values(listing)
        row = stored.get(external_id)
        if row is None:
            new.append({"workspace_id": account.definition.workspace_id, "account_id": account.id, **values})
        elif row.content_sha256 != values["content_sha256"]:
            changes.append({"id": row.id, **values, "is_detected": False, "missing_since": None})
        elif row.missing_since is not None:
            changes.append({"id": row.id, **values, "is_detected": row.is_detected, "missing_since": None})
    if changes:
        changes.sort(key=lambda change: change["id"])  # the order in which everybody locks them
        db.session.execute(update(Listing), changes)
    if new:
        db.session.execute(insert(Listing), new)
        stored = _stored(account, list(by_id))
    if account.definition.enable_images_cdn:
        changed = {change["id"] for change in changes}
        wanting = [row.id for row in stored.values() if not row.is_detected or row.id in changed]
        _detect(w, wanting)
    return [row.id for row in stored.values()]


def _detect(w: Work, listing_ids: Sequence[int]) -> None:
    if not listing_ids:
        return
    asked = select(Listing).where(Listing.id.in_(listing_ids)).options(WITH_ACCOUNT)
    rows = held(asked.order_by(Listing.id), Listing)  # first
    listings = db.session.scalars(rows.execution_options(populate_existing=True)).all()
    detection.detect(w, listings)
    for listing in listings:
        if listing.has_news:  # the one that it waited for may be gone
            mine = select(ListingImage).where(ListingImage.listing_id == listing.id)
            results.tell(w, listing, db.session.scalars(mine).all())
    db.session.execute(update(Listing).where(Listing.id.in_(listing_ids)).values(is_detected=True))
    counts.refresh(listing_ids)


def _stored(account: IntegrationAccount, external_ids: Sequence[str]) -> dict[str, Row[int, str, str, bool, Any]]:
    columns = (Listing.id, Listing.external_id, Listing.content_sha256, Listing.is_detected, Listing.missing_since)
    mine = select(*columns).where(Listing.account_id == account.id, Listing.external_id.in_(external_ids))
    return {row.external_id: row for row in db.session.execute(mine)}


def _values(listing: FoundListing) -> dict[str, Any]:
    said = {
        "external_id": listing.external_id,
        "name": listing.name,
        "thumbnail_url": listing.thumbnail_url,
        "pictures": [_object(picture) for picture in listing.pictures],
    }
    return said | {"content_sha256": hashlib.sha256(json.dumps(said).encode()).hexdigest()}


def _object(picture: Picture) -> dict[str, str]:
    """A picture as the API shows it: `url` and `description` always, the rest where the PMS says it (A13)."""
    more = {"id": picture.external_id, "room": picture.room}
    return {"url": picture.url, "description": picture.description} | {k: v for k, v in more.items() if v}
