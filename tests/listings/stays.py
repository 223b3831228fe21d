"""A connected PMS and what came of it: used by the tests of the listings."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import select, update

from portal import storage
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copying, detection, integrations, standing, sync
from portal.listings.models import GALLERY, THUMBNAIL, IntegrationAccount, Listing, ListingImage, prefix_of
from portal.work import work

NOWHERE = {"clientId": "1", "clientSecret": "secret", "baseUrl": "https://pms.example/v1"}  # an account of no PMS


def connected(workspace: Workspace, pms: FakeHostaway, *, enabled: bool = True) -> IntegrationAccount:
    """An account of this PMS, not synced yet; its Image CDN on."""
    integrations.switch(workspace, "hostaway", enabled=enabled)
    return integrations.connect(workspace, "hostaway", pms.credentials)


def listed(
    workspace: Workspace, name: str = "Heron House", *, pictures: int = 2, host: str = "https://pms.example"
) -> Listing:
    """A listing without a PMS, its pictures waiting to be copied: in the workspace's first account, made if need be."""
    definition = integrations.switch(workspace, "hostaway", enabled=True)
    accounts = integrations.accounts(definition)
    account = accounts[0] if accounts else integrations.connect(workspace, "hostaway", NOWHERE)
    urls = [f"{host}/{name}/{number}.jpg".replace(" ", "-") for number in range(pictures)]
    with work() as w:
        account.synced_at, account.next_at = now(), now() + timedelta(minutes=10)
        listing = Listing(workspace_id=workspace.id, account_id=account.id, external_id=f"{name} 1", name=name)
        listing.thumbnail_url = urls[0] if urls else None
        listing.pictures = [{"url": url, "description": f"View {number}"} for number, url in enumerate(urls)]
        listing.content_sha256, listing.is_detected = "", True
        db.session.add(listing)
        db.session.flush()
        detection.detect(w, [listing])
        standing.recount([listing.id])
    return listing


def failed(listing: Listing, *, position: int = 0, reason: str = "PMS image returns 404") -> ListingImage:
    """One of its pictures, given up for this reason."""
    with work():
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.failure_reason, image.next_at = reason, None
        standing.recount([listing.id])
    return image


def copied(listing: Listing, data: bytes, *, position: int = 0) -> ListingImage:
    """One of its pictures with a copy: of these bytes, from which much was removed."""
    with work() as w:
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.image_hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
        prefix = prefix_of(listing.account.definition.workspace.uuid, listing.uuid)
        image.key = f"{prefix}gallery/{position}_{image.image_hash}.jpg"
        image.original_bytes, image.delivered_bytes = len(data) + 100_000, len(data)
        image.width, image.height, image.next_at, image.failure_reason = 640, 480, now() + timedelta(days=7), None
        w.put(storage.cdn, image.key, data, "image/jpeg")
        standing.recount([listing.id])
    return image


def gone(listing: Listing, *, position: int) -> ListingImage:
    """One of its pictures, which the PMS shows no more."""
    with work():
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.superseded_at, image.next_at = now() - timedelta(days=3), None
        listing.pictures = [picture for picture in listing.pictures if picture["url"] != image.original_url]
        standing.recount([listing.id])
    return image


def broken(account: IntegrationAccount, error: str) -> None:
    """The last sync failed; the next is far."""
    with work():
        account.error, account.failures, account.next_at = error, 1, now() + timedelta(minutes=30)


def synced(account: IntegrationAccount) -> IntegrationAccount:
    """Sync at once, and copy what that finds."""
    integrations.sync_now(account)
    sync.run()
    copying.run()
    db.session.rollback()
    return account


def all_at_once() -> None:
    """What waits for its time is due now."""
    with work():
        db.session.execute(update(ListingImage).where(ListingImage.next_at.is_not(None)).values(next_at=now()))
        db.session.execute(
            update(IntegrationAccount).where(IntegrationAccount.next_at.is_not(None)).values(next_at=now())
        )


def listings() -> list[Listing]:
    return list(db.session.scalars(select(Listing).order_by(Listing.id)))


def images(listing: Listing | None = None) -> list[ListingImage]:
    """The records by listing, type and position."""
    found = select(ListingImage).order_by(ListingImage.listing_id, ListingImage.type, ListingImage.position)
    return list(db.session.scalars(found.where(ListingImage.listing_id == listing.id) if listing else found))


def assert_copied(pms: FakeHostaway, workspace: Workspace, *, listing_ids: list[int] | None = None) -> None:
    """Every picture that the PMS has is copied, byte by byte, under the seed's names; and no object is left over."""
    expected: dict[str, bytes] = {}
    by_external_id = {listing.external_id: listing for listing in listings()}
    assert set(by_external_id) == {str(id) for id in pms.catalogue.listings}
    rows = {(image.listing_id, image.type, image.original_url): image for image in images() if not image.superseded_at}
    for fake in pms.catalogue.listings.values():
        listing = by_external_id[str(fake.id)]
        wanted = [(THUMBNAIL, 0, fake.pictures[0])] + [(GALLERY, n, each) for n, each in enumerate(fake.pictures)]
        for type, position, picture in wanted:
            image = rows.pop((listing.id, type, pms.url_of(picture)))
            assert (image.position, image.image_hash, image.failure_reason) == (position, picture.md5, None)
            assert image.key and image.key.startswith(f"{workspace.uuid}/{listing.uuid}/"), image.key
            assert image.key.endswith(f"{picture.md5}.jpg")
            expected[image.key] = picture.bytes()
    assert not rows, "records of what the PMS doesn't have"
    kept = {image.key for image in images() if image.superseded_at and image.key}
    assert {stored.key for stored in storage.cdn.list()} == set(expected) | kept
    assert all(storage.cdn.get(key) == data for key, data in expected.items())
