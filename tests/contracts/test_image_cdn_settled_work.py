"""How the Image CDN contract's gaps are settled: failures and the workers' part (README, "Image CDN contract")."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from rq.job import Job
from rq.serializers import JSONSerializer

from portal.db import db, now
from portal.demo.pms.server import PmsReply
from portal.infra import jobs, storage
from portal.listings import copies, removal
from portal.listings.models import ListingImage
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.buckets import collect_orphans
from tests.contracts.image_cdn import DEFINITIONS, ENABLE, LISTINGS, ImageCdn, objects

SIZE = 1, 3  # one listing of three pictures


@pytest.fixture
def cdn(cdn: ImageCdn) -> ImageCdn:
    """The client, with the Image CDN on and everything copied."""
    cdn.switch(ENABLE)
    cdn.cycle()
    return cdn


class TestRetries:
    """Which failures are final and which are retried."""

    def after(self, cdn: ImageCdn, *said: PmsReply | int) -> list[Any]:
        """Return the failure reasons of new pictures, each of which the PMS answered once as given; none has a copy."""
        cdn.pms.catalogue.add(len(said))
        for number, each in enumerate(said):
            cdn.fail(number, each, listing=2)
        cdn.cycle()
        images = [cdn.image(number, listing=2) for number in range(len(said))]
        assert {image["cdnURL"] for image in images} == {None}
        return [image["failureReason"] for image in images]

    def test_final_failures_are_not_retried(self, cdn: ImageCdn) -> None:
        reasons = [f"PMS image returns {status}" for status in (404, 410, 403)]
        reasons.append("Invalid image format: The file is not an image of a supported type")
        assert self.after(cdn, 404, 410, 403, PmsReply(200, b"<html>")) == reasons
        downloads = cdn.downloads
        cdn.wait_for_its_time()
        cdn.cycle()
        assert cdn.pms.count("/pictures/2/") == len(reasons)
        assert [cdn.image(number, listing=2)["failureReason"] for number in range(len(reasons))] == reasons
        assert cdn.downloads > downloads, "other pictures were verified"

    def test_temporary_failures_are_retried(self, cdn: ImageCdn) -> None:
        said = (429, 500, 502, 503, 504, 408)
        assert self.after(cdn, *said) == [None] * len(said)
        cdn.upload()
        assert cdn.pms.count("/pictures/2/") == len(said), "not before their pause is over"
        cdn.wait_for_its_time()
        images = {each: cdn.image(number, listing=2) for number, each in enumerate(said)}
        became = {each: (image["failureReason"], bool(image["cdnURL"])) for each, image in images.items()}
        assert became == dict.fromkeys(said, (None, True))

    def test_retry_after_is_honoured(self, cdn: ImageCdn) -> None:
        self.after(cdn, PmsReply(429, headers={"Retry-After": "777"}))
        waiting = db.session.query(ListingImage).filter(ListingImage.key.is_(None)).all()
        for image in waiting:
            assert image.next_at
            assert timedelta(seconds=770) < image.next_at - now() <= timedelta(seconds=777)

    def test_exhausted_retries_leave_a_failure_reason(self, cdn: ImageCdn) -> None:
        self.after(cdn, 503)
        cdn.fail(0, 503, times=5, listing=2)
        reasons = []
        for _ in range(5):
            cdn.wait_for_its_time()
            reasons.append(cdn.image(0, listing=2)["failureReason"])
        assert reasons == [None] * 4 + ["PMS image returns 503"]


def test_leftover_objects_of_a_removed_listing_are_deleted(cdn: ImageCdn) -> None:
    folder = f"{cdn.person.workspace.uuid}/{cdn.listing()['id']}/"
    storage.cdn.put(f"{folder}gallery/9_{'0' * 32}.jpg", factories.jpeg(), "image/jpeg")
    cdn.said("DELETE", f"{DEFINITIONS}/HOSTAWAY/accounts/{cdn.account['id']}")
    removal.clear_leftovers()
    collect_orphans()
    assert objects() == set()


def test_leftover_objects_of_a_live_listing_are_collected(cdn: ImageCdn) -> None:
    stored, folder = objects(), f"{cdn.person.workspace.uuid}/{cdn.listing()['id']}/"
    storage.cdn.put(f"{folder}gallery/9_{'0' * 32}.jpg", factories.jpeg(), "image/jpeg")
    collect_orphans()
    assert objects() == stored


def test_concurrent_workers_upload_nothing_twice(cdn: ImageCdn, at_once: Callable[..., list[Any]]) -> None:
    for _ in range(3):
        cdn.pms.catalogue.add(6)
    downloads = cdn.downloads
    cdn.sync()
    answers = at_once(copies.run, *[()] * 4)
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert cdn.downloads == downloads + 18
    for number in (2, 3, 4):
        assert None not in {image["cdnURL"] for image in cdn.images(number)}
    assert len(objects()) == 4 + 3 * 7


def test_the_routes_that_the_empty_api_reference_leaves_open(cdn: ImageCdn) -> None:
    said = requests.get(f"{cdn.host}/api/openapi.json", timeout=30).json()["paths"]
    routes = {path: set(methods) for path, methods in said.items() if path.startswith((DEFINITIONS, LISTINGS))}
    assert routes == {
        DEFINITIONS: {"get"},
        f"{DEFINITIONS}/{{provider}}/images-cdn": {"patch"},
        f"{DEFINITIONS}/{{provider}}/accounts": {"get", "post"},
        f"{DEFINITIONS}/{{provider}}/accounts/{{id}}": {"get", "patch", "delete"},
        f"{DEFINITIONS}/{{provider}}/accounts/{{id}}/sync": {"post"},
        LISTINGS: {"get"},
        f"{LISTINGS}/{{id}}": {"get"},
        f"{LISTINGS}/{{id}}/images": {"get"},
        f"{LISTINGS}/{{id}}/images/{{imageId}}/retry": {"post"},
    }


def test_last_checked_at_is_when_the_bytes_were_verified(cdn: ImageCdn) -> None:
    before = cdn.image(1)
    cdn.cycle()
    assert cdn.image(1)["lastCheckedAt"] == before["lastCheckedAt"]
    cdn.wait_for_its_time()
    after = cdn.image(1)
    assert after["lastCheckedAt"] > before["lastCheckedAt"]
    assert (after["cdnURL"], after["imageHash"]) == (before["cdnURL"], before["imageHash"])


def test_the_job_carries_the_contracts_task_name(cdn: ImageCdn) -> None:
    cdn.pms.catalogue.add(1)
    cdn.sync()
    task = Job.fetch(jobs.image_cdn_upload().id, connection=jobs.connection(), serializer=JSONSerializer)
    assert task.meta["type"] == "IMAGE_CDN_UPLOAD"


def test_one_event_per_listing_announces_its_new_copies(cdn: ImageCdn) -> None:
    endpoints.create(cdn.person.workspace, "https://example.com/hook", ["listing.images.updated"])
    cdn.pms.catalogue.add(3)
    cdn.pms.catalogue.change_url(1, 2)
    for _ in range(2):
        cdn.cycle()
    told = [json.loads(delivery.body) for delivery in db.session.query(Delivery)]
    assert [each["type"] for each in told] == ["listing.images.updated"] * 2
    assert {cdn.listing(n)["id"] for n in (1, 2)} == {each["data"]["listingID"] for each in told}
