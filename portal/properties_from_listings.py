"""Making a property of a PMS's listing: the one place where the two siblings, images and listings, meet."""

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

LEASE = timedelta(seconds=60)  # where a creation dies half-way, the next one goes on then


def create(listing: Listing, *, added_by: str = "") -> Property:
    """Make a property of a listing, once, and import its pictures: as many as the plan has room for.

    They come in one import, however many: so they stand as in the listing, with what it says of them. What the Image
    CDN has a copy of is not fetched from the PMS, which may be away. Again, it returns the same property and imports
    what was not asked for yet. Raises NotFound where the listing is gone, OverQuota where the month's imports are used
    up: the property is there then, and the rest may follow.
    """
    property, known = _claimed(listing)
    if known is None:  # somebody is at it, a moment ago: what they import is not imported twice
        return property
    try:
        wanted = _not_asked_for(property, list(known))
        left = imports.budget(property.workspace).left
        for some in (wanted[:left], wanted[left:]):  # what is over the budget says so itself
            if some:
                imports.start(property, some, added_by=added_by, known=known, most=len(some))
    finally:
        _release(listing)
    return property


def find(listing: Listing) -> Property | None:
    """Return the property that was made of a listing, while it is there."""
    return db.session.get(Property, listing.property_id) if listing.property_id else None


def _claimed(listing: Listing) -> tuple[Property, dict[str, KnownPicture] | None]:
    """Return the listing's property, made where there is none, and what is known of its pictures, by their URLs.

    None while somebody imports these.
    """
    with work():
        if not catalogue.hold(listing):
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
        known = _known(listing)
    return property, known


def _known(listing: Listing) -> dict[str, KnownPicture]:
    image, most = ListingImage, gallery.MAX_ALT_TEXT_LENGTH  # a PMS may say more
    copied = select(image.original_url, image.key).where(image.listing_id == listing.id, image.type == GALLERY)
    copies = dict(db.session.execute(copied).all())
    return {
        picture["url"]: KnownPicture(picture["description"][:most], copies.get(picture["url"]))
        for picture in listing.pictures
    }


def _release(listing: Listing) -> None:
    with work():
        if lock(listing):
            listing.creating_until = None


def _not_asked_for(property: Property, urls: list[str]) -> list[str]:
    """Leave out what an import has been asked for, and what the plan has no room for."""
    mine = select(ImportItem).join(ImportJob, ImportItem.job_id == ImportJob.id)
    asked = set(db.session.scalars(mine.with_only_columns(ImportItem.url).where(ImportJob.property_id == property.id)))
    waiting = mine.with_only_columns(func.count()).where(
        ImportJob.property_id == property.id, ImportItem.state == PENDING
    )
    left = gallery.room(property).left - (db.session.scalar(waiting) or 0)
    return [url for url in urls if url not in asked and _is_address(url)][: max(0, left)]


def _is_address(url: str) -> bool:
    """Whether an import takes it: a PMS may name what could never be fetched, and the others are wanted still."""
    try:
        remote.check_url(url)
    except remote.Refused:
        return False
    return True
