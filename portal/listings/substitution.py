"""Substitution on read: where there is a copy, its URL stands in place of the PMS's (seed A, "Listing Response")."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from portal import config
from portal.db import db, read_anew, release
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
    """A listing's pictures as they are answered: of the same shape as the PMS's, another URL at most (A13)."""

    thumbnail_url: str | None
    pictures: Sequence[Mapping[str, Any]]


def substitute(listings: Sequence[Listing]) -> list[ListingPictures]:
    """Return what to show of each, in one statement. Where anything fails, it is what the PMS says (seed A)."""
    try:
        copies = _copies([listing.id for listing in listings])
        return [_substitute(listing, copies) for listing in listings]
    except Exception:
        log.exception("substitution failed: the PMS's own URLs are shown")
        release()
        read_anew(listings, WITH_ACCOUNT)
        return [ListingPictures(listing.thumbnail_url, listing.pictures) for listing in listings]


def cdn_url(image: ListingImage) -> str | None:
    """Return where a record's copy is served, whether its listing shows it or not; None while there is none."""
    return f"{_base()}{image.key}" if image.key else None


def _copies(listing_ids: Sequence[int]) -> dict[tuple[int, str], dict[str, str]]:
    """Return PMS URL → CDN URL of each listing and type, where the Image CDN is on.

    Joined in the database, a row a listing and type: a row for each picture would take longer than all the rest.
    """
    image = ListingImage
    pairs = func.aggregate_strings(image.original_url + " " + image.key, "\n")
    found = (
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
        for listing_id, type, text in db.session.execute(found)
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
