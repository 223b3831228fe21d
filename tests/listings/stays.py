"""A connected PMS and its listings, for tests of the listings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import event, select, update

from portal import config
from portal.accounts.models import Workspace
from portal.db import db, now, read_anew
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import storage
from portal.listings import copies, counts, integrations, substitution, sync
from portal.listings.models import (
    GALLERY,
    THUMBNAIL,
    WITH_ACCOUNT,
    IntegrationAccount,
    Listing,
    ListingImage,
    prefix_of,
)
from portal.listings.providers.base import FoundListing, Picture, Token
from portal.listings.sync import detection, upsert
from portal.work import lock, work
from tests.processes import until

PMS = "http://127.0.0.1:9"  # nothing answers there

NOWHERE = {"clientId": "1", "clientSecret": "secret", "baseUrl": "https://pms.example/v1"}  # an account without a PMS


def connected(workspace: Workspace, pms: FakeHostaway | dict[str, str], *, enabled: bool = True) -> IntegrationAccount:
    """An account of this PMS, signed in already, or one with these credentials at an address that nobody answers;
    not synced yet."""
    integrations.switch_image_cdn(workspace, "hostaway", enabled=enabled)
    if isinstance(pms, dict):
        return integrations.connect(workspace, "hostaway", pms)
    account = integrations.connect(workspace, "hostaway", pms.credentials)
    pms.tokens["good"] = 0.0  # a fresh token is valid only a second later: no test waits for that needlessly
    with work():
        account.token = json.dumps(Token("good", 0.0, now().timestamp() + 24 * 3600))
    return account


def showing(pms: FakeHostaway, *urls: str) -> None:
    """Make each listing of this PMS show just these pictures."""
    images = [{"id": n, "url": url, "sortOrder": n} for n, url in enumerate(urls, 1)]
    pms.twist = lambda listing: listing | {"listingImages": images}


def told(account: IntegrationAccount, count: int = 1, *, pictures: int = 1) -> list[Listing]:
    """Listings as if a sync had found them, without a PMS."""
    found = [
        FoundListing(
            str(n), f"Home {n}", f"{PMS}/{n}/0.jpg", tuple(Picture(f"{PMS}/{n}/{p}.jpg") for p in range(pictures))
        )
        for n in range(1, count + 1)
    ]
    with work() as w:
        lock(account)
        ids = upsert.store_listings(w, account, found)
    mine = select(Listing).where(Listing.id.in_(ids)).options(WITH_ACCOUNT)
    return list(db.session.scalars(mine.order_by(Listing.id)))


def listed(
    workspace: Workspace, name: str = "Heron House", *, pictures: int = 2, host: str = "https://pms.example"
) -> Listing:
    """A listing without a PMS, its pictures waiting to be copied: in the workspace's first account, made if needed."""
    definition = integrations.switch_image_cdn(workspace, "hostaway", enabled=True)
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
        read_anew([listing], WITH_ACCOUNT)
        detection.detect(w, [listing])
        counts.refresh([listing.id])
    read_anew([listing], WITH_ACCOUNT)
    return listing


def failed(listing: Listing, *, position: int = 0, reason: str = "PMS image returns 404") -> ListingImage:
    """One of its pictures, given up for this reason."""
    with work():
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.failure_reason, image.next_at = reason, None
        counts.refresh([listing.id])
    return image


def copied(listing: Listing, data: bytes, *, position: int = 0) -> ListingImage:
    """One of its pictures with a copy of these bytes, much smaller than the source."""
    with work() as w:
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.image_hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
        prefix = prefix_of(account_of(listing).definition.workspace.uuid, listing.uuid)
        image.key = f"{prefix}gallery/{position}_{image.image_hash}.jpg"
        image.original_bytes, image.delivered_bytes = len(data) + 100_000, len(data)
        image.width, image.height, image.next_at, image.failure_reason = 640, 480, now() + timedelta(days=7), None
        w.put(storage.cdn, image.key, data, "image/jpeg")
        counts.refresh([listing.id])
    return image


def gone(listing: Listing, *, position: int) -> ListingImage:
    """One of its pictures, which the PMS no longer shows."""
    with work():
        image = next(one for one in images(listing) if (one.type, one.position) == (GALLERY, position))
        image.superseded_at, image.next_at = now() - timedelta(days=3), None
        listing.pictures = [picture for picture in listing.pictures if picture["url"] != image.original_url]
        counts.refresh([listing.id])
    return image


def broken(account: IntegrationAccount, error: str) -> None:
    """The last sync failed; the next one is far off."""
    with work():
        account.error, account.failures, account.next_at = error, 1, now() + timedelta(minutes=30)


def synced(account: IntegrationAccount) -> IntegrationAccount:
    """Sync now, and copy what that finds."""
    synced_only(account)
    copies.run()
    db.session.rollback()
    return account


def synced_only(account: IntegrationAccount) -> None:
    """Sync now; what that finds waits to be copied."""
    integrations.sync_now(account)
    sync.run()
    db.session.rollback()


def until_busy() -> None:
    """Wait until a picture is being fetched."""
    busy = select(ListingImage.id).where(ListingImage.fetching_until > now())

    def is_one() -> bool:
        db.session.rollback()
        return db.session.scalar(busy.limit(1)) is not None

    until(is_one, within_s=30)
    db.session.rollback()


def all_at_once() -> None:
    """Make everything that waits due now."""
    with work():
        db.session.execute(update(ListingImage).where(ListingImage.next_at.is_not(None)).values(next_at=now()))
        db.session.execute(
            update(IntegrationAccount).where(IntegrationAccount.next_at.is_not(None)).values(next_at=now())
        )


def pass_time(*, minutes: int) -> None:
    """Move everything that waits this much closer to its time."""
    with work():
        for image in images():
            image.next_at = image.next_at and image.next_at - timedelta(minutes=minutes)


def let_leases_run_out() -> None:
    """Expire all leases: the work of a killed worker is due again."""
    over = now() - timedelta(seconds=1)
    with work():
        busy = update(ListingImage).where(ListingImage.fetching_until.is_not(None), ListingImage.next_at.is_not(None))
        db.session.execute(busy.values(fetching_until=over, next_at=over))
        asking = update(IntegrationAccount).where(IntegrationAccount.syncing_until.is_not(None))
        db.session.execute(asking.values(syncing_until=over, next_at=over))


def run_due() -> None:
    """Make everything that waits due, and fetch or verify it."""
    all_at_once()
    copies.run()
    db.session.rollback()


def retry_in_s(image: ListingImage) -> float:
    """Seconds until a picture is fetched again."""
    assert image.next_at
    return (image.next_at - now()).total_seconds()


def listings() -> list[Listing]:
    return list(db.session.scalars(select(Listing).options(WITH_ACCOUNT).order_by(Listing.id)))


def account_of(listing: Listing) -> IntegrationAccount:
    return db.session.get_one(IntegrationAccount, listing.account_id)


def images(listing: Listing | None = None) -> list[ListingImage]:
    """The records by listing, type and position."""
    found = select(ListingImage).order_by(ListingImage.listing_id, ListingImage.type, ListingImage.position)
    return list(db.session.scalars(found.where(ListingImage.listing_id == listing.id) if listing else found))


def gallery(listing: int = 0) -> list[ListingImage]:
    """The gallery of a listing as the PMS shows it now, by position."""
    found = images(listings()[listing])
    return [image for image in found if image.type == GALLERY and not image.superseded_at]


def objects() -> dict[str, bytes | None]:
    """The keys in the CDN bucket."""
    return {one.key: storage.cdn.get(one.key) for one in storage.cdn.list()}


def shown_urls() -> list[str]:
    """The URLs shown for all listings: galleries, then thumbnails."""
    found = substitution.substitute(listings())
    return [picture["url"] for one in found for picture in one.pictures] + [str(one.thumbnail_url) for one in found]


def is_cdn(url: str) -> bool:
    return url.startswith(config.settings().cdn_url)


def assert_copied(pms: FakeHostaway, workspace: Workspace) -> None:
    """Assert that every picture of the PMS is copied byte by byte under the contract's keys, and no object is left
    over."""
    expected: dict[str, bytes] = {}
    by_external_id = {listing.external_id: listing for listing in listings()}
    assert set(by_external_id) == {str(id) for id in pms.catalogue.listings}
    rows = {(image.listing_id, image.type, image.original_url): image for image in images() if not image.superseded_at}
    for fake in pms.catalogue.listings.values():
        listing = by_external_id[str(fake.id)]
        wanted = [(THUMBNAIL, 0, fake.pictures[0])] + [(GALLERY, n, each) for n, each in enumerate(fake.pictures)]
        for type, position, picture in wanted:
            image, data = rows.pop((listing.id, type, pms.url_of(picture))), picture.bytes()
            md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
            assert (image.position, image.image_hash, image.failure_reason) == (position, md5, None)
            assert image.key and image.key.startswith(f"{workspace.uuid}/{listing.uuid}/"), image.key
            assert image.key.endswith(f"_{md5}.jpg")
            expected[image.key] = data
    assert not rows, "records of what the PMS doesn't have"
    kept = {image.key for image in images() if image.superseded_at and image.key}
    there = objects()
    assert set(there) == set(expected) | kept
    assert {key: there[key] for key in expected} == expected


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements inside the block."""
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def writes(asked: list[str]) -> list[str]:
    """Those that write to a listing or its images."""
    verbs = ("INSERT INTO listing", "UPDATE listing", "DELETE FROM listing")
    return [statement for statement in asked if statement.startswith(verbs)]
