"""Thumbnails for the tables of listings, since copies keep the PMS's size, which may be megabytes."""

from functools import lru_cache
from uuid import UUID

from flask import Blueprint, Response

from portal import inventory
from portal.db import release
from portal.errors import Invalid, NotFound, TooMany
from portal.images.variants import rendering
from portal.infra import storage
from portal.inventory import COPY, Damaged, Facts
from portal.listings import catalogue
from portal.listings.copies import repair
from portal.listings.models import Listing, ListingImage
from portal.pages.session import current_user, signed_in
from portal.pixels.derive import RenditionRecipe
from portal.pixels.inspect import inspect
from portal.pixels.rejection import RejectedFile, is_transient
from portal.pixels.types import type_of

WIDTH_PX = 200  # 66 CSS px on a screen with 3 device pixels per CSS px
CACHE_SIZE = 1000  # thumbnails of a few kB each, per process
WAIT_S = 10
RETRY_AFTER_S = 30  # for a damaged copy, which a worker downloads again
IMMUTABLE = "private, max-age=31536000, immutable"  # a copy never changes, and its hash is in the URL

blueprint = Blueprint("previews", __name__)


@blueprint.app_template_global()
def preview_url(listing: Listing, image: ListingImage) -> str:
    return f"/listings/{listing.uuid}/pictures/{image.uuid}/preview?v={image.image_hash}"


@blueprint.get("/listings/<uuid:uuid>/pictures/<uuid:image_uuid>/preview")
@signed_in
def preview(uuid: UUID, image_uuid: UUID) -> Response:
    listing = catalogue.find(current_user().workspace, str(uuid))
    key = catalogue.find_image(listing, str(image_uuid)).key
    if key is None:
        raise NotFound("There is no copy yet.", code="image_not_found")
    copy = inventory.find(storage.cdn, key) or Facts(key, COPY, type_of(key), None, None)
    release()  # don't hold a connection while resizing
    try:
        thumbnail = _thumbnail(_unchanging(copy))
    except Damaged as damaged:
        repair.schedule(key, damaged.damage)
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return Response("This picture is being downloaded again.\n", 503, headers, mimetype="text/plain")
    if thumbnail is None:
        raise Invalid("This picture can't be opened.")
    return Response(thumbnail, mimetype="image/webp", headers={"Cache-Control": IMMUTABLE})


def _unchanging(copy: Facts) -> Facts:
    """Return the facts that identify a copy's bytes, so that a cached thumbnail is never that of other ones."""
    return Facts(copy.key, copy.kind, copy.type, copy.size_bytes, copy.sha256)


@lru_cache(maxsize=CACHE_SIZE)
def _thumbnail(copy: Facts) -> bytes | None:
    """Return a thumbnail of a copy, made in a sandboxed child process, or None if it can never be opened.

    Raises Damaged, TooMany, and RejectedFile if another attempt may succeed.
    """
    slots = rendering.slots()
    if not slots.acquire(timeout=WAIT_S):  # before the file is read, so waiting requests hold no memory
        raise TooMany("Too many photos are being processed. Try again in a moment.", retry_after_s=1)
    try:
        data = inventory.verified(storage.cdn, copy)
        return rendering.derived(data, inspect(data), RenditionRecipe(WIDTH_PX, "image/webp")).data
    except RejectedFile as rejected:
        if is_transient(rejected):
            raise
        return None
    finally:
        slots.release()
