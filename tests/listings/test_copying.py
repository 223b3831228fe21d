"""Copies: each picture is downloaded once, stored under the seed's names, and tried again as long as that may help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal import storage
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import Said
from portal.errors import Conflict
from portal.listings import copying, download, integrations, sync
from portal.listings.models import GALLERY, THUMBNAIL, IntegrationAccount, Listing, ListingImage
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery
from portal.work import work
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from tests.outside import Reply, Seen, outside
from tests.pixels.files import drawn

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}


@pytest.fixture
def pms() -> Iterator[FakeHostaway]:
    """A Hostaway with one listing of two pictures."""
    with FakeHostaway(listings=1, pictures=2) as pms:
        pms.is_limited = False
        yield pms


def prefix(workspace: Workspace) -> str:
    (listing,) = stays.listings()
    return f"{workspace.uuid}/{listing.uuid}/"


def stored() -> dict[str, bytes | None]:
    return {one.key: storage.cdn.get(one.key) for one in storage.cdn.list()}


def again(image: ListingImage) -> float:
    """Seconds until a picture is fetched again."""
    assert image.next_at
    return (image.next_at - now()).total_seconds()


def run_due() -> None:
    stays.all_at_once()
    copying.run()
    db.session.rollback()


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a4_the_thumbnail_and_the_first_of_the_gallery_are_two_records_and_one_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    first, second = pms.catalogue.listings[1].pictures
    gallery = [image for image in stays.images() if image.type == GALLERY]
    (thumbnail,) = [image for image in stays.images() if image.type == THUMBNAIL]
    assert pms.count(f"/pictures/{first.name}") == pms.count(f"/pictures/{second.name}") == 1
    assert stored() == {
        f"{prefix(alice.workspace)}thumbnail_{first.md5}.jpg": first.bytes(),
        f"{prefix(alice.workspace)}gallery/0_{first.md5}.jpg": first.bytes(),
        f"{prefix(alice.workspace)}gallery/1_{second.md5}.jpg": second.bytes(),
    }
    for image, picture, position in ((thumbnail, first, 0), (gallery[0], first, 0), (gallery[1], second, 1)):
        assert (image.original_url, image.position) == (pms.url_of(picture), position)
        assert (image.image_hash, image.failure_reason) == (picture.md5, None)
        assert (image.width, image.height, image.original_bytes) == (480, 320, len(picture.bytes()))
        assert image.last_checked_at and image.last_checked_at > now() - timedelta(minutes=1)


def test_the_same_bytes_behind_two_urls_of_a_listing_are_stored_once_per_type(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    first, second = pms.catalogue.listings[1].pictures
    second.number = first.number
    stays.synced(account)
    gallery = [image for image in stays.images() if image.type == GALLERY]
    assert len({image.key for image in gallery}) == 1
    assert len(stored()) == 2
    stays.synced(account)
    assert pms.count("/pictures/") == 2


@pytest.mark.parametrize("format", FORMATS)
def test_the_extension_and_the_type_are_those_of_the_bytes(
    account: IntegrationAccount, pms: FakeHostaway, format: str
) -> None:
    """A1, B2: whatever the URL ends in, and whatever type the server states."""
    data = drawn(format)
    with outside(lambda _: Reply(body=data, headers={"Content-Type": "image/jpeg"})) as host:
        stays.showing(pms, f"{host.url}/photo.JPEG?x=1")
        stays.synced(account)
    for image in stays.images():
        assert image.key and image.key.endswith(f".{FORMATS[format]}")
        found = storage.cdn.head(image.key)
        assert found and found.type == f"image/{format.lower()}"


def test_copies_may_be_kept_for_good_by_whoever_fetches_them(account: IntegrationAccount) -> None:
    stays.synced(account)
    for image in stays.images():
        said = storage.cdn._client.head_object(Bucket=storage.cdn.name, Key=image.key)
        assert said["CacheControl"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("status", [404, 410])
def test_a14_a_picture_that_is_not_there_is_final(account: IntegrationAccount, pms: FakeHostaway, status: int) -> None:
    pms.fail_next(1, status, below="/pictures/1/2.jpg")
    stays.synced(account)
    image = stays.images()[1]
    assert (image.failure_reason, image.key, image.next_at) == (f"PMS image returns {status}", None, None)
    run_due()
    stays.synced(account)
    assert pms.count("/pictures/1/2.jpg") == 1
    assert [each.failure_reason for each in stays.images()].count(None) == 2, "the others have their copies"


def test_a14_a_host_that_asks_for_time_gets_it(account: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.fail_next(1, Said(429, headers={"Retry-After": "777"}), below="/pictures/1/2.jpg")
    stays.synced(account)
    image = stays.images()[1]
    assert 700 < again(image) <= 777
    assert (image.failure_reason, image.key) == (None, None)
    run_due()
    assert stays.images()[1].key


@pytest.mark.parametrize("failure", ["5xx", "reset", "timeout", "S3"])
def test_a14_what_may_pass_is_retried_on_the_schedule_and_then_has_a_reason(
    account: IntegrationAccount, pms: FakeHostaway, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "DEADLINE_S", 1)
    replies = {"5xx": Reply(503), "reset": Reply(is_reset=True), "timeout": Reply(after_s=5)}
    good = Reply(body=drawn("JPEG"))
    with outside(lambda _: replies.get(failure, good)) as host, bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 500 if asked.method == "PUT" and failure == "S3" else None
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
        for pause_s in download.RETRY_AFTER_S:
            image = stays.images()[0]
            assert pause_s - 30 < again(image) <= pause_s
            assert image.failure_reason is None
            run_due()
    reasons = {
        "5xx": "PMS image returns 503",
        "reset": "PMS image can't be fetched: It can't be reached, or isn't a web server.",
        "timeout": "PMS image can't be fetched: It took too long to answer.",
        "S3": "S3 upload fails",
    }
    assert [image.failure_reason for image in stays.images()] == [reasons[failure]] * 2
    assert [image.next_at for image in stays.images()] == [None, None]
    assert len(host.seen) == 1 + len(download.RETRY_AFTER_S)
    assert stored() == {}


def test_an_s3_upload_that_fails_half_way_leaves_nothing_and_succeeds_later(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 500 if asked.method == "PUT" and "gallery/0" in asked.path else None
        stays.synced(account)
        assert len(stored()) == 1, "the thumbnail of the same download is undone"
    run_due()
    stays.assert_copied(pms, alice.workspace)


def test_a9_a_failure_after_a_success_keeps_serving_the_copy(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    keys, objects = [image.key for image in stays.images()], stored()
    for _ in range(download.MAX_ATTEMPTS + 2):  # weeks pass, and it is asked again each time
        pms.fail_next(2, 404, below="/pictures/")
        run_due()
        assert [image.key for image in stays.images()] == keys
        assert {image.failure_reason for image in stays.images()} == {"PMS image returns 404"}
        assert all(again(image) > 6 * 24 * 3600 for image in stays.images())
    assert stored() == objects
    run_due()
    assert {image.failure_reason for image in stays.images()} == {None}


def test_a_copy_that_can_not_be_verified_is_retried_as_often_each_time(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    for _ in range(2):
        for pause_s in download.RETRY_AFTER_S:
            pms.fail_next(2, 502, below="/pictures/")
            run_due()
            assert all(pause_s - 30 < again(image) <= pause_s for image in stays.images())
        pms.fail_next(2, 502, below="/pictures/")
        run_due()
        assert {image.failure_reason for image in stays.images()} == {"PMS image returns 502"}
        assert all(again(image) > 6 * 24 * 3600 for image in stays.images())


def test_a_picture_is_tried_again_on_request(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    pms.fail_next(1, 404, below="/pictures/1/2.jpg")
    stays.synced(account)
    copying.try_again(stays.images()[1])
    copying.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_all_that_failed_is_tried_again_on_request(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    pms.fail_next(2, 404, below="/pictures/")
    stays.synced(account)
    assert copying.try_all_again(select(ListingImage.id)) == 3
    copying.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)
    assert copying.try_all_again(select(ListingImage.id)) == 0


def test_what_is_off_or_gone_is_not_tried_again(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    pms.fail_next(1, 404, below="/pictures/1/2.jpg")
    stays.synced(account)
    failed = stays.images()[1]
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    with pytest.raises(Conflict):
        copying.try_again(failed)
    copying.try_all_again(select(ListingImage.id))
    copying.run()
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    with pytest.raises(Conflict):
        copying.try_again(failed)
    assert pms.count("/pictures/") == 2


def test_what_is_being_fetched_is_not_fetched_beside_it(
    account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    """Somebody is impatient, and rings for a second worker."""

    def answer(seen: Seen) -> Reply:
        return Reply(body=drawn("JPEG"), after_s=1)

    def impatient() -> None:
        stays.until_busy()
        copying.try_again(stays.images()[0])
        copying.run()

    with outside(answer) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copying.run,), (impatient,)) == [1, None]
    assert len(host.seen) == 1
    assert len(stored()) == 2


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a16_workers_side_by_side_download_nothing_twice(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    for _ in range(5):
        pms.catalogue.add(8)
    stays.synced_only(account)
    counts = at_once(copying.run, (), (), (), ())
    assert sum(counts) == pms.count("/pictures/") == 2 + 5 * 8
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a16_syncs_and_copies_side_by_side_come_to_the_same(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    for turn in range(4):
        with pms.lock:
            pms.catalogue.add(6)
            pms.catalogue.change_url(1, 1)
            pms.catalogue.listings[1].pictures.reverse()
        integrations.sync_now(account)
        outcomes = at_once(lambda do: do(), (sync.run,), (copying.run,), (sync.run,), (copying.run,))
        assert not [each for each in outcomes if isinstance(each, Exception)], turn
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_x13_a_listing_is_told_of_once_per_change(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    endpoints.create(alice.workspace, "http://127.0.0.1:9/hook", [events.LISTING_IMAGES_UPDATED])

    def told() -> list[str]:
        found = list(db.session.scalars(select(Delivery).order_by(Delivery.id)))
        bodies = [one.body for one in found]
        with work():
            for one in found:
                db.session.delete(one)
        return bodies

    pms.catalogue.add(3)
    stays.synced(account)
    uuids = [str(listing.uuid) for listing in stays.listings()]
    first = told()
    assert sorted(uuid for body in first for uuid in uuids if uuid in body) == sorted(uuids)
    assert len(first) == 2
    stays.synced(account)
    assert told() == [], "nothing changed"
    pms.catalogue.change_url(1, 0)
    pms.catalogue.change_url(1, 1)
    pms.fail_next(1, 503, below="/pictures/1/2")
    stays.synced(account)
    assert told() == [], "one of its pictures is still to come"
    run_due()
    assert len(told()) == 1
    run_due()
    assert told() == [], "verified, and the same"
    pms.catalogue.change_bytes(1, 1)
    run_due()
    assert len(told()) == 1
    pms.catalogue.change_url(1, 0)
    pms.catalogue.change_url(1, 1)
    pms.fail_next(1, 503, below="/pictures/1/2")
    stays.synced(account)
    pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    assert len(told()) == 1, "the one that was still to come is gone"


def test_cdn_serves_a_copy_with_its_type_and_is_dark_once_the_row_is_gone(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    data = drawn("PNG")
    with outside(lambda _: Reply(body=data)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
    keys = [image.key for image in stays.images()]
    client = alice.app.test_client()
    for key in keys:
        answer = client.get(f"/cdn/{key}")
        assert (answer.status_code, answer.content_type, answer.data) == (200, "image/png", data)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with work():
        db.session.delete(db.session.scalars(select(Listing)).one())
    assert set(stored()) == set(keys), "the objects are still there"
    assert [client.get(f"/cdn/{key}").status_code for key in keys] == [404, 404]
