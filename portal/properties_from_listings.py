"""Creates properties from PMS listings."""

from datetime import timedelta

from sqlalchemy import func, select

from portal import remote
from portal.db import db, now
from portal.errors import NotFound
from portal.images import gallery, imports
from portal.images.imports.lifecycle import KnownPicture
from portal.images.models import PENDING, ImportItem, ImportJob, Property
from portal.listings import catalogue
from portal.listings.models import GALLERY, Listing, ListingImage
from portal.work import lock, work

LEASE = timedelta(seconds=60)  # after it, another call continues a creation whose process died


def create(listing: Listing, *, added_by: str = "") -> Property:
    """Create a property from a listing and import its pictures, as many as the plan has room for.

    All pictures belong to one import, so they keep the listing's order and descriptions. Pictures with a copy in the
    Image CDN are not fetched from the PMS. Calling it again returns the same property and imports pictures that were
    not requested before. Raises NotFound if the listing is gone, and OverQuota if the month's imports are used up; the
    property exists then, and a later call imports the rest.
    """
    property, known = _claim(listing)
    if known is None:  # another call is importing the pictures
        return property
    try:
        wanted = _not_requested(property, list(known))
        budget_left = imports.budget(property.workspace).left
        for urls in (wanted[:budget_left], wanted[budget_left:]):  # the second call raises OverQuota
            if urls:
                imports.start(property, urls, added_by=added_by, known=known, most=len(urls))
    finally:
        _release_lease(listing)
    return property


def find(listing: Listing) -> Property | None:
    """Return the property that was created from a listing, or None."""
    return db.session.get(Property, listing.property_id) if listing.property_id else None


def _claim(listing: Listing) -> tuple[Property, dict[str, KnownPicture] | None]:
    """Return the listing's property, created if necessary, and the known pictures by URL.

    The pictures are None while another call holds the lease.
    """
    with work():
        if not catalogue.lock_if_present(listing):
            raise NotFound("There is no such listing.", code="listing_not_found")
        property = find(listing)
        if property and listing.creating_until and listing.creating_until > now():
            return property, None
        listing.creating_until = now() + LEASE
        if property is None:
            name = listing.name.strip()[:200] or "Untitled"
            property = Property(workspace_id=listing.workspace_id, name=name, external_ref=listing.external_id[:120])
            db.session.add(property)
            db.session.flush()
            listing.property_id = property.id
        known = _known_pictures(listing)
    return property, known


def _known_pictures(listing: Listing) -> dict[str, KnownPicture]:
    image, max_length = ListingImage, gallery.MAX_ALT_TEXT_LENGTH  # a PMS may have longer texts
    copied = select(image.original_url, image.key).where(image.listing_id == listing.id, image.type == GALLERY)
    copies = dict(db.session.execute(copied).all())
    return {
        picture["url"]: KnownPicture(picture["description"][:max_length], copies.get(picture["url"]))
        for picture in listing.pictures
    }


def _release_lease(listing: Listing) -> None:
    with work():
        if lock(listing):
            listing.creating_until = None


def _not_requested(property: Property, urls: list[str]) -> list[str]:
    """Return the URLs that no import has requested yet, as many as the plan has room for."""
    items = select(ImportItem).join(ImportJob, ImportItem.job_id == ImportJob.id)
    requested = set(
        db.session.scalars(items.with_only_columns(ImportItem.url).where(ImportJob.property_id == property.id))
    )
    waiting = items.with_only_columns(func.count()).where(
        ImportJob.property_id == property.id, ImportItem.state == PENDING
    )
    quota_left = gallery.quota(property).left - (db.session.scalar(waiting) or 0)
    return [url for url in urls if url not in requested and _is_importable(url)][: max(0, quota_left)]


def _is_importable(url: str) -> bool:
    """Return whether an import accepts a URL: one invalid URL of a PMS must not stop the others."""
    try:
        remote.check_url(url)
    except remote.RequestRefused:
        return False
    return True
