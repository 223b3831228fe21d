"""Storing a page of listings: new and changed ones are written in bulk, unchanged ones not at all."""

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


def store_listings(w: Work, account: IntegrationAccount, found: Sequence[FoundListing]) -> list[int]:
    """Store the listings of a page and, if the Image CDN is on, schedule their pictures; return the listings' ids.

    Takes a fixed number of statements. Call it under the account's lock.
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
        changes.sort(key=lambda change: change["id"])  # the lock order of all transactions
        db.session.execute(update(Listing), changes)
    if new:
        db.session.execute(insert(Listing), new)
        stored = _stored(account, list(by_id))
    if account.definition.enable_images_cdn:
        changed = {change["id"] for change in changes}
        undetected = [row.id for row in stored.values() if not row.is_detected or row.id in changed]
        _detect_pictures(w, undetected)
    return [row.id for row in stored.values()]


def _detect_pictures(w: Work, listing_ids: Sequence[int]) -> None:
    if not listing_ids:
        return
    query = select(Listing).where(Listing.id.in_(listing_ids)).options(WITH_ACCOUNT)
    rows = held(query.order_by(Listing.id), Listing)  # listings are locked before their images
    listings = db.session.scalars(rows.execution_options(populate_existing=True)).all()
    detection.detect(w, listings)
    for listing in listings:
        if listing.has_new_copies:  # the PMS may no longer list the last waiting picture
            images = select(ListingImage).where(ListingImage.listing_id == listing.id)
            results.emit_when_complete(w, listing, db.session.scalars(images).all())
    db.session.execute(update(Listing).where(Listing.id.in_(listing_ids)).values(is_detected=True))
    counts.refresh(listing_ids)


def _stored(account: IntegrationAccount, external_ids: Sequence[str]) -> dict[str, Row[int, str, str, bool, Any]]:
    columns = (Listing.id, Listing.external_id, Listing.content_sha256, Listing.is_detected, Listing.missing_since)
    query = select(*columns).where(Listing.account_id == account.id, Listing.external_id.in_(external_ids))
    return {row.external_id: row for row in db.session.execute(query)}


def _values(listing: FoundListing) -> dict[str, Any]:
    content = {
        "external_id": listing.external_id,
        "name": listing.name,
        "thumbnail_url": listing.thumbnail_url,
        "pictures": [_as_json(picture) for picture in listing.pictures],
    }
    return content | {"content_sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def _as_json(picture: Picture) -> dict[str, str]:
    """Return a picture as the API returns it: always `url` and `description`, other fields if the PMS has them."""
    more = {"id": picture.external_id, "room": picture.room}
    return {"url": picture.url, "description": picture.description} | {k: v for k, v in more.items() if v}
