"""Image CDN contract, "Enabling" and "Disabling Image CDN", "Listing Response Behavior", over HTTP."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
import requests

from portal.listings import providers
from tests.contracts.image_cdn import DEFINITIONS, DISABLE, ENABLE, THUMBNAIL, ImageCdn, objects
from tests.listings import stays

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class TestEnabling:
    def test_the_toggle_returns_the_updated_definition(self, cdn: ImageCdn) -> None:
        body = '{\n"enableImagesCDN": true\n}'  # the contract's example
        headers = {"Authorization": f"Bearer {cdn.person.key}", "Content-Type": "application/json"}
        url = f"{cdn.host}/api/v1/integration-definition/HOSTAWAY/images-cdn"
        response = requests.patch(url, data=body, headers=headers, timeout=30)
        assert response.status_code == 200
        definition = response.json()
        assert list(definition) == ["id", "name", "provider", "enableImagesCDN", "createdAt", "updatedAt"]
        assert list(definition.values())[1:4] == ["Hostaway", "HOSTAWAY", True]
        assert str(UUID(definition["id"])) == definition["id"]
        assert MOMENT.fullmatch(definition["createdAt"]) and MOMENT.fullmatch(definition["updatedAt"])
        assert definition["updatedAt"] >= definition["createdAt"]
        assert cdn.said("GET", DEFINITIONS) == [definition]

    def test_updated_at_changes_only_with_the_switch(self, cdn: ImageCdn) -> None:
        on, off = cdn.switch(ENABLE), cdn.switch(DISABLE)
        assert off == on | {"enableImagesCDN": False, "updatedAt": off["updatedAt"]}
        assert off["updatedAt"] > on["updatedAt"] > on["createdAt"]
        assert cdn.switch(DISABLE) == off, "it was off already"

    def test_the_next_sync_of_any_account_queues_uploads(self, cdn: ImageCdn) -> None:
        again = {"name": "Again", "credentials": {**cdn.pms.credentials, "baseUrl": f"{cdn.pms.base_url}/"}}
        other = cdn.said("POST", f"{DEFINITIONS}/HOSTAWAY/accounts", again)
        cdn.sync()
        assert {listing["accountID"] for listing in cdn.listings()} == {cdn.account["id"], other["id"]}
        cdn.switch(ENABLE)
        cdn.cycle()
        assert len(cdn.listings()) == 6
        assert all(cdn.key(listing["thumbnailURL"]) in objects() for listing in cdn.listings())


def test_the_provider_may_be_written_in_any_case(cdn: ImageCdn) -> None:
    for provider in ("HOSTAWAY", "hostaway", "Hostaway", "hOSTAWAy"):
        on = cdn.switch(ENABLE, provider)
        assert (on["provider"], on["enableImagesCDN"]) == ("HOSTAWAY", True), provider
        assert cdn.said("GET", DEFINITIONS) == [on]
        cdn.switch(DISABLE)


def test_an_unknown_provider_is_a_404(cdn: ImageCdn) -> None:
    for provider in ("nobody", "HOST AWAY", "hostaway2", "%F0%9F%8F%A0"):
        response = cdn.ask("PATCH", f"{DEFINITIONS}/{provider}/images-cdn", ENABLE)
        assert (response.status_code, list(response.json())) == (404, ["code", "message", "details"]), provider


def test_a_non_boolean_value_is_a_422(cdn: ImageCdn) -> None:
    cdn.switch(ENABLE)
    for value in ("false", 0, None, [], {}, ""):
        response = cdn.ask("PATCH", f"{DEFINITIONS}/HOSTAWAY/images-cdn", {"enableImagesCDN": value})
        assert (response.status_code, list(response.json()["details"])) == (422, ["enableImagesCDN"]), value
        assert cdn.said("GET", DEFINITIONS)[0]["enableImagesCDN"] is True, value


class TestDisabling:
    @pytest.fixture
    def copied(self, cdn: ImageCdn) -> list[Any]:
        """The listings as they were before the CDN was switched off."""
        cdn.switch(ENABLE)
        cdn.cycle()
        before = cdn.listings()
        off = cdn.switch(DISABLE)
        assert off["enableImagesCDN"] is False
        return before

    def test_no_new_images_are_queued(self, cdn: ImageCdn, copied: list[Any]) -> None:
        records, downloads = cdn.images(), cdn.downloads
        cdn.pms.catalogue.change_url(1, 2)
        cdn.pms.catalogue.add(3)
        cdn.cycle()
        assert cdn.images() == records
        assert (cdn.images(4), cdn.downloads) == ([], downloads)
        assert cdn.pictures()[2] == cdn.pms_url(2), "the listing itself is still synced"

    def test_existing_cdn_urls_are_still_served(self, cdn: ImageCdn, copied: list[Any]) -> None:
        for listing in copied:
            fake = cdn.pms.catalogue.listings[int(listing["externalID"])]
            assert cdn.served(listing["thumbnailURL"]) == fake.pictures[0].bytes()
            for picture, shown in zip(fake.pictures, listing["pictures"], strict=True):
                assert cdn.served(shown["url"]) == picture.bytes()

    def test_listings_return_the_pms_urls_again(self, cdn: ImageCdn, copied: list[Any]) -> None:
        for listing in cdn.listings():
            urls = [cdn.pms_url(n, int(listing["externalID"])) for n in range(4)]
            assert [picture["url"] for picture in listing["pictures"]] == urls
            assert listing["thumbnailURL"] == urls[0]


class TestListingResponse:
    """ "Listing Response Behavior"."""

    def test_the_thumbnail_is_replaced_where_there_is_a_copy(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.fail(0, 404, listing=2)
        cdn.cycle()
        assert cdn.listing(1)["thumbnailURL"] == cdn.image(0, THUMBNAIL)["cdnURL"]
        assert cdn.listing(2)["thumbnailURL"] == cdn.pms_url(0, 2)

    def test_a_listing_without_pictures_has_none(self, cdn: ImageCdn) -> None:
        cdn.pms.catalogue.add(0)
        cdn.pms.twist = lambda listing: listing if listing["listingImages"] else {**listing, "thumbnailUrl": None}
        cdn.switch(ENABLE)
        cdn.cycle()
        assert (cdn.listing(4)["thumbnailURL"], cdn.listing(4)["pictures"], cdn.images(4)) == (None, [], [])

    def test_gallery_urls_are_replaced_where_there_are_copies(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.fail(1, 410)
        cdn.cycle()
        shown = cdn.pictures()
        assert shown[1] == cdn.pms_url(1)
        assert [shown[n] for n in (0, 2, 3)] == [cdn.image(n)["cdnURL"] for n in (0, 2, 3)]

    def test_the_schema_does_not_change(self, cdn: ImageCdn) -> None:
        cdn.cycle()
        before = cdn.listings()
        cdn.switch(ENABLE)
        cdn.cycle()
        after = cdn.listings()
        assert shape(after) == shape(before)
        assert after != before

    def test_only_the_urls_differ_between_on_and_off(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.cycle()
        enabled = cdn.listings()
        cdn.switch(DISABLE)
        disabled = cdn.listings()
        assert enabled != disabled
        assert [without_urls(listing) for listing in enabled] == [without_urls(listing) for listing in disabled]
        assert shape(enabled) == shape(disabled)

    def test_copying_may_take_several_syncs(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        for number in range(4):
            cdn.fail(number, 503, times=2)
        available = []
        for _ in range(3):
            cdn.sync()
            cdn.wait_for_its_time()
            available.append(sum(image["cdnURL"] is not None for image in cdn.images()))
        assert available == [0, 0, 5]

    def test_each_sync_has_an_upload_budget(self, cdn: ImageCdn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Uploads past the budget of one sync are due with the following ones."""
        monkeypatch.setattr(providers.ALL["HOSTAWAY"], "uploads_per_sync", 2)
        cdn.switch(ENABLE)
        cdn.sync()
        available = []
        for _ in range(3):
            cdn.upload()
            available.append(sum(image["cdnURL"] is not None for image in cdn.images()))
            stays.pass_time(minutes=15)
        assert available == [2, 4, 5]


def shape(value: Any) -> Any:
    """Return the names and types of a response, without its values."""
    if isinstance(value, dict):
        return [(name, shape(inner)) for name, inner in value.items()]
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


def without_urls(listing: Any) -> Any:
    return listing | {"thumbnailURL": "…", "pictures": [picture | {"url": "…"} for picture in listing["pictures"]]}
