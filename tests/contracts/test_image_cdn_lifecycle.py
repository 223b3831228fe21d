"""Image CDN contract, "Image Lifecycle" and "Data Model", over HTTP."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
import requests

from portal.db import db
from portal.infra import jobs
from portal.listings import removal
from portal.listings.models import Listing, ListingImage
from portal.work import work
from tests.contracts.image_cdn import DEFINITIONS, ENABLE, GALLERY, LISTINGS, THUMBNAIL, ImageCdn, objects

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = [  # the contract's table, in its order
    "id",
    "listingID",
    "originalURL",
    "cdnURL",
    "imageHash",
    "imageType",
    "position",
    "lastCheckedAt",
    "failureReason",
    "createdAt",
    "updatedAt",
]


@pytest.fixture
def cdn(cdn: ImageCdn) -> ImageCdn:
    """The client, with the Image CDN on."""
    cdn.switch(ENABLE)
    return cdn


class TestLifecycle:
    @pytest.fixture
    def cdn(self, cdn: ImageCdn) -> ImageCdn:
        """The client, with everything copied."""
        cdn.cycle()
        return cdn

    def test_new_listings(self, cdn: ImageCdn) -> None:
        """ "New Listings"."""
        cdn.pms.catalogue.add(3)
        jobs.connection().flushall()
        cdn.sync()
        assert jobs.queue(jobs.CDN).get_job_ids() == [jobs.image_cdn_upload().id]
        queued = [(image["imageType"], image["position"], image["cdnURL"]) for image in cdn.images(4)]
        assert queued == [(THUMBNAIL, 0, None), (GALLERY, 0, None), (GALLERY, 1, None), (GALLERY, 2, None)]
        cdn.upload()
        assert cdn.pictures(4) == [image["cdnURL"] for image in cdn.images(4)][1:]

    def test_updated_images(self, cdn: ImageCdn) -> None:
        """ "Updated Images"."""
        original = cdn.image(2)
        cdn.pms.catalogue.change_url(1, 2)
        cdn.sync()
        new = cdn.image(2)
        assert new["id"] != original["id"]
        assert (new["cdnURL"], new["failureReason"]) == (None, None), "queued"
        assert cdn.pictures()[2] == cdn.pms_url(2)
        cdn.upload()
        assert cdn.pictures()[2] == cdn.image(2)["cdnURL"]
        (kept,) = [image for image in cdn.images() if image["id"] == original["id"]]
        assert kept == original | {"updatedAt": kept["updatedAt"]}

    def test_removing_an_account_removes_its_listings_records_and_copies(self, cdn: ImageCdn) -> None:
        """ "Deleted Listings"."""
        shown = [cdn.listing(n)["thumbnailURL"] for n in (1, 2, 3)]
        paths = [f"{LISTINGS}/{listing['id']}" for listing in cdn.listings()]
        cdn.said("DELETE", f"{DEFINITIONS}/HOSTAWAY/accounts/{cdn.account['id']}")
        assert cdn.listings() == []
        assert {cdn.ask("GET", path).status_code for path in paths} == {404}
        assert {requests.get(url, timeout=30).status_code for url in shown} == {404}, "immediately"
        removal.clear_leftovers()
        assert db.session.query(ListingImage).count() == 0
        assert objects() == set()

    def test_a_listing_deleted_in_the_pms_loses_its_copies(self, cdn: ImageCdn) -> None:
        """ "Deleted Listings"; and README, "Pictures removed in the PMS"."""
        gone = f"{cdn.person.workspace.uuid}/{cdn.listing(2)['id']}/"
        cdn.pms.catalogue.remove(2)
        cdn.cycle()
        cdn.cycle()  # missing from one sync only, it may have slipped between two pages
        removal.clear_leftovers()
        assert [listing["externalID"] for listing in cdn.listings()] == ["1", "3"]
        assert not [key for key in objects() if key.startswith(gone)]
        assert len(objects()) == 10, "the other listings' objects stay"

    def test_records_cascade_with_their_listing(self, cdn: ImageCdn) -> None:
        """ "Deleted Listings"."""
        with work():
            db.session.query(Listing).filter(Listing.external_id == "2").delete()  # the database's own cascade
        assert db.session.query(ListingImage).count() == 2 * 5
        assert len(cdn.images(1)) == len(cdn.images(3)) == 5


class TestDataModel:
    """A test for each field of the table."""

    @pytest.fixture
    def records(self, cdn: ImageCdn) -> dict[str, Any]:
        """A record in each state: waiting, copied, failed; and a thumbnail."""
        for listing in (1, 2, 3):
            cdn.pms.catalogue.remove(listing)
        cdn.pms.catalogue.add(3)
        cdn.fail(0, 503, listing=4)
        cdn.fail(2, 404, listing=4)
        cdn.cycle()
        thumbnail, waiting, copied, failed = cdn.images(4)
        assert [record["imageType"] for record in (thumbnail, waiting, copied, failed)] == [THUMBNAIL, *[GALLERY] * 3]
        return {"waiting": waiting, "copied": copied, "failed": failed, "thumbnail": thumbnail}

    def test_a_record_has_these_fields_and_no_others(self, records: dict[str, Any]) -> None:
        for record in records.values():
            assert list(record) == FIELDS

    def test_id(self, records: dict[str, Any]) -> None:
        assert len({str(UUID(record["id"])) for record in records.values()}) == 4

    def test_listing_id(self, cdn: ImageCdn, records: dict[str, Any]) -> None:
        assert {record["listingID"] for record in records.values()} == {str(UUID(cdn.listing(4)["id"]))}

    def test_original_url(self, cdn: ImageCdn, records: dict[str, Any]) -> None:
        said = [records[kind]["originalURL"] for kind in ("thumbnail", "waiting", "copied", "failed")]
        assert said == [cdn.pms_url(n, 4) for n in (0, 0, 1, 2)]

    def test_cdn_url(self, cdn: ImageCdn, records: dict[str, Any]) -> None:
        assert records["waiting"]["cdnURL"] is records["failed"]["cdnURL"] is None
        assert cdn.key(records["copied"]["cdnURL"]) in objects()

    def test_image_hash(self, cdn: ImageCdn, records: dict[str, Any]) -> None:
        assert records["copied"]["imageHash"] == cdn.pms.catalogue.listings[4].pictures[1].md5
        assert re.fullmatch("[0-9a-f]{32}", records["copied"]["imageHash"])
        assert records["waiting"]["imageHash"] is records["failed"]["imageHash"] is None

    def test_image_type(self, records: dict[str, Any]) -> None:
        assert (records["thumbnail"]["imageType"], records["copied"]["imageType"]) == ("THUMBNAIL", "GALLERY")

    def test_position(self, records: dict[str, Any]) -> None:
        said = [records[kind]["position"] for kind in ("thumbnail", "waiting", "copied", "failed")]
        assert said == [0, 0, 1, 2]

    def test_last_checked_at(self, records: dict[str, Any]) -> None:
        assert MOMENT.fullmatch(records["copied"]["lastCheckedAt"])
        assert records["waiting"]["lastCheckedAt"] is None

    def test_failure_reason(self, records: dict[str, Any]) -> None:
        assert records["failed"]["failureReason"] == "PMS image returns 404"
        assert records["copied"]["failureReason"] is records["waiting"]["failureReason"] is None

    def test_created_and_updated_at(self, cdn: ImageCdn, records: dict[str, Any]) -> None:
        for record in records.values():
            assert MOMENT.fullmatch(record["createdAt"]) and MOMENT.fullmatch(record["updatedAt"])
            assert record["createdAt"] <= record["updatedAt"]
        cdn.wait_for_its_time()
        after = cdn.image(0, listing=4)
        assert after["cdnURL"]
        assert after["createdAt"] == records["waiting"]["createdAt"]
        assert after["updatedAt"] > records["waiting"]["updatedAt"]
