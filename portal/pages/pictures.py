"""The page of a listing: a row per picture with its PMS link and its copy, or why there is no copy."""

from collections import Counter
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import properties_from_listings
from portal.errors import OverQuota, demand_known
from portal.listings import catalogue, copies, pictures, providers
from portal.listings.catalogue import FAILED, STATES, WAITING
from portal.listings.models import Listing, ListingImage
from portal.listings.pictures import PictureRow
from portal.listings.substitution import cdn_url
from portal.pages import live
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

blueprint = Blueprint("pictures", __name__, url_prefix="/listings/<uuid:uuid>")


blueprint.add_app_template_global(cdn_url)


@blueprint.get("")
@signed_in
def one(uuid: UUID) -> ResponseReturnValue:
    """Return the page; for htmx, its live part, or 304 if it has not changed."""
    if request.htmx:
        return live.fragment(render_template("listings/_listing.html", **_page_data(_find(uuid))))
    return _page(_find(uuid))


@blueprint.post("/property")
@signed_in
def make_property(uuid: UUID) -> ResponseReturnValue:
    """Create a property from the listing, unless it has one, and redirect to it. An import brings the pictures."""
    listing = _find(uuid)
    try:
        property = properties_from_listings.create(listing, added_by=current_user().name)
    except OverQuota as full:
        return _page(listing, wrong=full.message), 422
    return redirect(f"/properties/{property.uuid}/photos", 303)


@blueprint.post("/try-again")
@signed_in
def try_all_again(uuid: UUID) -> ResponseReturnValue:
    """Retry all failed copies. Editors may do so, since it changes no settings."""
    listing = _find(uuid)
    copies.try_all_again(select(ListingImage.id).where(ListingImage.listing_id == listing.id))
    return _back(listing)


@blueprint.post("/pictures/<uuid:image_uuid>/try-again")
@signed_in
def try_again(uuid: UUID, image_uuid: UUID) -> ResponseReturnValue:
    listing = _find(uuid)
    image = catalogue.find_image(listing, str(image_uuid))
    copies.try_again(image)
    return _back(listing, image)


def _find(uuid: UUID) -> Listing:
    return catalogue.find(current_user().workspace, str(uuid))


def _page(listing: Listing, wrong: str = "") -> str:
    return render_template("listings/listing.html", wrong=wrong, **_page_data(listing))


def _page_data(listing: Listing, tried: ListingImage | None = None) -> dict[str, object]:
    """Return the page's data, in a fixed number of statements. `tried`, a retried picture, decides the focus."""
    state = request.values.get("state") or None
    demand_known("state", state, STATES)
    images = catalogue.images(listing)
    rows = pictures.rows(listing, images)
    copied = [image for image in images if image.key and not image.superseded_at]
    counts = Counter(row.state for row in rows)
    shown = [row for row in rows if state in (None, row.state)]
    return {
        "listing": listing,
        "provider": providers.ALL[listing.account.definition.provider],
        "is_on": listing.account.definition.enable_images_cdn,
        "property": properties_from_listings.find(listing),
        "room": current_user().workspace.plan.images_per_property,
        "rows": shown,
        "focused": next((row for row in _nearest(rows, tried) if row in shown), None),
        "counts": counts,
        "former": pictures.superseded_rows(images),
        "copied": copied,
        "original_bytes": sum(image.original_bytes or 0 for image in copied),
        "delivered_bytes": sum(image.delivered_bytes or 0 for image in copied),
        "is_busy": counts[WAITING] > 0,
        "has_failed": counts[FAILED] > 0,
        "state": state,
        "here": _url(listing, state),
    }


def _nearest(rows: list[PictureRow], image: ListingImage | None) -> list[PictureRow]:
    """Return an image's row and those after it, then those before it, nearest first; nothing if it has no row."""
    place = next((n for n, row in enumerate(rows) if image and row.image is image), len(rows))
    return [*rows[place:], *rows[:place][::-1]] if place < len(rows) else []


def _url(listing: Listing, state: str | None = None) -> str:
    return f"/listings/{listing.uuid}{'?' + urlencode({'state': state}) if state else ''}"


def _back(listing: Listing, tried: ListingImage | None = None) -> ResponseReturnValue:
    """Return the live part with its new focus for htmx, otherwise redirect to the page of the button."""
    if request.htmx:
        return render_template("listings/_listing.html", is_answer=True, **_page_data(listing, tried))
    return redirect(_url(listing, request.form.get("state")), 303)
