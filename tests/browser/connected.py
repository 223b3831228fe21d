"""What the pictures of the listings show: an integration whose pictures are all copied, one with failures, one off."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cache
from io import BytesIO

from PIL import Image

from portal.accounts.models import User
from portal.db import db, now
from portal.demo.photos import PHOTOS
from portal.infra import storage
from portal.listings import counts
from portal.listings.models import (
    GALLERY,
    THUMBNAIL,
    IntegrationAccount,
    IntegrationDefinition,
    Listing,
    ListingImage,
    prefix_of,
)
from portal.listings.sync import detection
from portal.work import work

NAMES = ("Heron House", "Mill Loft", "Dune Cabin", "Orchard Barn", "Harbour Flat", "Alder Cottage", "Fern Lodge")
VISIBLE = 7  # listings whose pictures are really there; of the others only the numbers
SIZE = (1800, 1200)  # px


def listings(user: User) -> Listing:
    """Hostaway all copied, Guesty with failures and some on the way, Cloudbeds off; one listing to be opened."""
    with work():
        hostaway = _account(user, "HOSTAWAY", "Sea Stays", synced_min=2)
        _account(user, "HOSTAWAY", "Hill Stays", synced_min=4)
        guesty = _account(user, "GUESTY", "City Flats", synced_min=9)
        failing = _account(user, "GUESTY", "Old Town", synced_min=3000)
        failing.error, failing.failures = "Guesty rejected these credentials.", 3
        failing.next_at = now() + timedelta(minutes=58)
        off = _account(user, "CLOUDBEDS", "Hotel Quay", synced_min=6, enabled=False)
        for number in range(96):
            _listing(user, hostaway, number)
        shown = [_listing(user, guesty, number, has_troubles=number < 3) for number in range(31)]
        for number in range(12):
            _listing(user, off, number)
    return shown[0]


def syncing() -> None:
    """The second account of Hostaway in the middle of a sync; the one of Cloudbeds about to begin."""
    with work():
        hill = db.session.query(IntegrationAccount).filter_by(name="Hill Stays").one()
        hill.started_at, hill.found, hill.total, hill.pages = now(), 312, 1240, 4
        db.session.query(IntegrationAccount).filter_by(name="Hotel Quay").one().next_at = now()


def _account(user: User, provider: str, name: str, *, synced_min: int, enabled: bool = True) -> IntegrationAccount:
    mine = {"workspace_id": user.workspace_id, "provider": provider}
    definition = db.session.query(IntegrationDefinition).filter_by(**mine).one_or_none()
    if definition is None:
        definition = IntegrationDefinition(**mine, enable_images_cdn=enabled)
        db.session.add(definition)
        db.session.flush()
    account = IntegrationAccount(definition_id=definition.id, name=name, credentials=None, host="pms.example")
    account.synced_at, account.created_at = now() - timedelta(minutes=synced_min), now() - timedelta(days=40)
    db.session.add(account)
    db.session.flush()
    account.next_at = now() + timedelta(minutes=max(1, 15 - synced_min))
    return account


def _listing(user: User, account: IntegrationAccount, number: int, *, has_troubles: bool = False) -> Listing:
    """A listing of eight pictures. One with troubles has one that is gone at the PMS, and three on the way."""
    external_id = str(48213 + 17 * account.id + number)
    host = f"https://images.{account.definition.provider.lower()}.example/{external_id}"
    shown = list(_photos().items())
    shown = shown[number % 7 :] + shown[: number % 7]
    pictures = [{"url": f"{host}/{9000 + n}-{n:02}.jpg", "description": text} for n, (text, _) in enumerate(shown)]
    listing = Listing(workspace_id=user.workspace_id, account_id=account.id, external_id=external_id)
    listing.name = f"{NAMES[number % 7]}{f' {number // 7 + 1}' if number > 6 else ''}"
    listing.thumbnail_url, listing.pictures, listing.is_detected = pictures[0]["url"], pictures, True
    listing.content_sha256, listing.updated_at = "", now() - timedelta(hours=3 * number)
    db.session.add(listing)
    db.session.flush()
    listing.updated_at = now() - timedelta(hours=3 * number)
    if number >= VISIBLE:
        listing.copied = 9
        return listing
    for type, position in ((THUMBNAIL, 0), *((GALLERY, n) for n in range(8))):
        _image(user, listing, type, position, shown[position][1], has_troubles=has_troubles)
    db.session.flush()
    counts.refresh([listing.id])
    return listing


def _image(user: User, listing: Listing, type: str, position: int, data: bytes, *, has_troubles: bool) -> None:
    url = listing.pictures[position]["url"]
    image = ListingImage(
        account_id=listing.account_id,
        listing_id=listing.id,
        type=type,
        original_url=url,
        url_sha256=detection.url_sha256(url),
        host="images.example",
        position=position,
    )
    db.session.add(image)
    db.session.flush()
    image.next_at = now() + timedelta(days=7)
    if has_troubles and position == 3:
        image.failure_reason, image.next_at = "PMS image returns 404", None
    elif not has_troubles or position < 5:
        image_hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
        place = "thumbnail" if type == THUMBNAIL else f"gallery/{position}"
        image.key = f"{prefix_of(user.workspace.uuid, listing.uuid)}{place}_{image_hash}.jpg"
        image.image_hash, image.last_checked_at = image_hash, now()
        image.original_bytes, image.delivered_bytes = len(data) + 38_112, len(data)
        image.width, image.height = SIZE
        storage.cdn.put(image.key, data, "image/jpeg")


@cache
def _photos() -> dict[str, bytes]:
    """Eight photos by what is to be seen on them."""
    found = {}
    for photo in PHOTOS[:7]:
        file = BytesIO()
        with Image.open(BytesIO(photo.read())) as image:
            image.resize(SIZE).save(file, "JPEG", quality=88)
        found[photo.alt_text] = file.getvalue()
    return found | {"": next(iter(found.values()))}
