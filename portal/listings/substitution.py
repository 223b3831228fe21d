"""Substitution on read: a copy's CDN URL replaces the PMS's URL.

Image CDN contract, "Listing Response Behavior".
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from portal import config
from portal.db import db, release, reload
from portal.listings.models import (
    GALLERY,
    THUMBNAIL,
    WITH_ACCOUNT,
    IntegrationAccount,
    IntegrationDefinition,
    Listing,
    ListingImage,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListingPictures:
    """A listing's pictures as the API returns them. Only the URLs differ from the PMS's data, never the shape."""

    thumbnail_url: str | None
    pictures: Sequence[Mapping[str, Any]]


def substitute(listings: Sequence[Listing]) -> list[ListingPictures]:
    """Return the pictures of each listing with copies substituted, in one statement.

    If anything fails, return the PMS's URLs instead (Image CDN contract, "Error Handling and Fallbacks").
    """
    try:
        copies = _copies([listing.id for listing in listings])
        return [_substitute(listing, copies) for listing in listings]
    except Exception:
        log.exception("substitution failed: returning the PMS's URLs, listings=%s", len(listings))
        release()
        reload(listings, WITH_ACCOUNT)
        return [ListingPictures(listing.thumbnail_url, listing.pictures) for listing in listings]


def cdn_url(image: ListingImage) -> str | None:
    """Return the CDN URL of an image's copy, even while the Image CDN is off; None if there is no copy."""
    return f"{_base()}{image.key}" if image.key else None


def _copies(listing_ids: Sequence[int]) -> dict[tuple[int, str], dict[str, str]]:
    """Map PMS URLs to CDN URLs, by listing and image type, where the Image CDN is on.

    The database concatenates the pairs of each listing and type: a row per picture would dominate the request's time.
    """
    image = ListingImage
    pairs = func.aggregate_strings(image.original_url + " " + image.key, "\n")
    query = (
        select(image.listing_id, image.type, pairs)
        .join(Listing, image.listing_id == Listing.id)
        .join(IntegrationAccount, Listing.account_id == IntegrationAccount.id)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(image.listing_id.in_(listing_ids), image.key.is_not(None), IntegrationDefinition.enable_images_cdn)
        .group_by(image.listing_id, image.type)
    )
    base = _base()
    return {
        (listing_id, type): {url: base + key for url, _, key in (pair.rpartition(" ") for pair in text.split("\n"))}
        for listing_id, type, text in db.session.execute(query)
    }


def _substitute(listing: Listing, copies: Mapping[tuple[int, str], Mapping[str, str]]) -> ListingPictures:
    thumbnails, gallery = copies.get((listing.id, THUMBNAIL), {}), copies.get((listing.id, GALLERY), {})
    url = listing.thumbnail_url
    return ListingPictures(
        thumbnails.get(url, url) if url else url,
        [{**picture, "url": gallery.get(picture["url"], picture["url"])} for picture in listing.pictures]
        if gallery
        else listing.pictures,
    )


def _base() -> str:
    return f"{config.settings().cdn_url}/"
