"""Failures: temporary ones are retried with a backoff, final ones have a reason, and a good copy is still served."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import Conflict
from portal.listings import copies, integrations
from portal.listings.copies import fetch
from portal.listings.models import IntegrationAccount, ListingImage
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from tests.outside import Reply, outside
from tests.pixels.files import drawn

SIZE = 1, 2  # one listing of two pictures


@pytest.mark.parametrize(
    "failure", ["5xx", *(pytest.param(one, marks=pytest.mark.slow) for one in ("reset", "timeout", "S3"))]
)
def test_temporary_failures_are_retried_on_schedule_and_then_have_a_reason(
    account: IntegrationAccount, pms: FakeHostaway, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if failure == "timeout":
        monkeypatch.setattr(fetch, "DEADLINE_S", 0.2)
    replies = {"5xx": Reply(503), "reset": Reply(is_reset=True), "timeout": Reply(after_s=60)}
    good = Reply(body=drawn("JPEG"))
    with outside(lambda _: replies.get(failure, good)) as host, bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 500 if asked.method == "PUT" and failure == "S3" else None
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
        for pause_s in fetch.RETRY_AFTER_S:
            image = stays.images()[0]
            assert pause_s - 30 < stays.retry_in_s(image) <= pause_s
            assert image.failure_reason is None
            stays.run_due()
    reasons = {
        "5xx": "PMS image returns 503",
        "reset": "PMS image can't be fetched: The server can't be reached, or isn't a web server.",
        "timeout": "PMS image can't be fetched: The server took too long to answer.",
        "S3": "S3 upload fails",
    }
    assert [image.failure_reason for image in stays.images()] == [reasons[failure]] * 2
    assert [image.next_at for image in stays.images()] == [None, None]
    assert len(host.seen) == 1 + len(fetch.RETRY_AFTER_S)
    assert stays.objects() == {}


def test_an_s3_upload_that_fails_half_way_succeeds_later(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 500 if asked.method == "PUT" and "gallery/0" in asked.path else None
        stays.synced(account)
        assert [image.key for image in stays.images()].count(None) == 2, "the thumbnail of the same download waits too"
    stays.run_due()
    stays.assert_copied(pms, alice.workspace)


def test_a_failure_after_a_success_keeps_serving_the_copy(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    keys, objects = [image.key for image in stays.images()], stays.objects()
    for _ in range(fetch.MAX_ATTEMPTS + 2):  # weeks pass, and it is requested again each time
        pms.fail_next(2, 404, below="/pictures/")
        stays.run_due()
        assert [image.key for image in stays.images()] == keys
        assert {image.failure_reason for image in stays.images()} == {"PMS image returns 404"}
        assert all(stays.retry_in_s(image) > 6 * 24 * 3600 for image in stays.images())
    assert stays.objects() == objects
    stays.run_due()
    assert {image.failure_reason for image in stays.images()} == {None}


def test_a_copy_that_cannot_be_verified_is_retried_as_often_each_time(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    for _ in range(2):
        for pause_s in fetch.RETRY_AFTER_S:
            pms.fail_next(2, 502, below="/pictures/")
            stays.run_due()
            assert all(pause_s - 30 < stays.retry_in_s(image) <= pause_s for image in stays.images())
        pms.fail_next(2, 502, below="/pictures/")
        stays.run_due()
        assert {image.failure_reason for image in stays.images()} == {"PMS image returns 502"}
        assert all(stays.retry_in_s(image) > 6 * 24 * 3600 for image in stays.images())


def test_a_picture_is_retried_on_request(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    pms.fail_next(1, 404, below="/pictures/1/2.jpg")
    stays.synced(account)
    copies.try_again(stays.images()[1])
    copies.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_all_failures_are_retried_on_request(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    pms.fail_next(2, 404, below="/pictures/")
    stays.synced(account)
    assert copies.try_all_again(select(ListingImage.id)) == 3
    copies.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)
    assert copies.try_all_again(select(ListingImage.id)) == 0


def test_disabled_or_removed_pictures_are_not_retried(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    pms.fail_next(1, 404, below="/pictures/1/2.jpg")
    stays.synced(account)
    failed = stays.images()[1]
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    with pytest.raises(Conflict):
        copies.try_again(failed)
    copies.try_all_again(select(ListingImage.id))
    copies.run()
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    with pytest.raises(Conflict):
        copies.try_again(failed)
    assert pms.count("/pictures/") == 2
