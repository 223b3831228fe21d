"""What only Guesty, Hospitable and Cloudbeds do."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from portal.demo.pms.server import PmsReply, as_json
from portal.listings.providers import ALL
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Page
from portal.listings.providers.normalize import DISAGREES, GONE
from portal.remote import Unreachable
from tests.listings.fakes.cloudbeds import FakeCloudbeds
from tests.listings.fakes.guesty import FakeGuesty
from tests.listings.fakes.hospitable import FakeHospitable, uuid_of
from tests.listings.fakes.known import account_of

pytestmark = pytest.mark.usefixtures("unlimited")


def all_of(account: HttpAccount) -> list[Page]:
    return list(account.provider.pages(account, None))


def test_guesty_gives_five_tokens_a_day() -> None:
    guesty = ALL["GUESTY"]
    with FakeGuesty() as pms:
        account = HttpAccount(guesty, pms.credentials)
        tokens = [guesty.sign_in(account) for _ in range(5)]
        assert len({token.secret for token in tokens if token}) == 5
        with pytest.raises(Unreachable) as raised:
            guesty.sign_in(account)
        assert raised.value.code == "http_error"
        assert (raised.value.retry_after_s or 0) > 23 * 3600
        account.token = tokens[0]
        assert len(all_of(account)[0].listings) == 3


def test_guestys_token_is_valid_immediately_and_for_a_day() -> None:
    with FakeGuesty() as pms:
        token = ALL["GUESTY"].sign_in(HttpAccount(ALL["GUESTY"], pms.credentials))
        assert token
        assert token.valid_from <= time.time() < token.valid_until - 86_390


def test_a_token_that_expires_before_a_page_is_read_is_not_used() -> None:
    with FakeGuesty() as pms:
        pms.fail_next(1, as_json({"access_token": "short", "expires_in": 30}), below="/oauth2/token")
        with pytest.raises(Unreachable) as raised:
            ALL["GUESTY"].sign_in(HttpAccount(ALL["GUESTY"], pms.credentials))
        assert raised.value.code == "bad_answer"


def test_guesty_is_asked_to_sort_by_id_so_that_no_two_listings_tie() -> None:
    with FakeGuesty(listings=205, pictures=1) as pms:
        chance = random.Random(1)
        pms.arrange = lambda listings: chance.sample(listings, len(listings))
        seen = [listing.external_id for page in all_of(account_of(pms)) for listing in page.listings]
    assert len(set(seen)) == len(seen) == 205


def test_guestys_cover_may_lack_the_original_size() -> None:
    with FakeGuesty(listings=1) as pms:
        for cover, url in (
            ({"original": "https://guesty.example/o.jpg"}, "https://guesty.example/o.jpg"),
            (
                {"thumbnail": "https://guesty.example/t.jpg", "original": "https://x.example/"},
                "https://guesty.example/t.jpg",
            ),
            (None, pms.url_of(pms.catalogue.listings[1].pictures[0])),
        ):
            pms.twist = lambda listing, cover=cover: listing | {"picture": cover}
            assert all_of(account_of(pms))[0].listings[0].thumbnail_url == url


def test_hospitable_is_asked_once_for_each_propertys_images() -> None:
    with FakeHospitable(listings=25) as pms:
        assert [len(page.listings) for page in all_of(account_of(pms))] == [20, 5]
        assert pms.count("/v2/properties/") == 25
        assert pms.count() == 27


def test_hospitables_order_field_overrides_the_array() -> None:
    with FakeHospitable(listings=1) as pms:

        def turn_around(said: dict[str, Any]) -> dict[str, Any]:
            return {"images": said["images"][::-1]} if "images" in said else said

        pms.twist = turn_around
        (page,) = all_of(account_of(pms))
        assert page.notes == (DISAGREES,)
        assert [one.url for one in page.listings[0].pictures] == [
            pms.url_of(picture) for picture in pms.catalogue.listings[1].pictures
        ]


@pytest.mark.parametrize("status", [404, 410])
def test_a_property_removed_meanwhile_is_skipped(status: int) -> None:
    with FakeHospitable() as pms:
        pms.fail_next(1, status, below=f"/v2/properties/{uuid_of(2)}/images")
        (page,) = all_of(account_of(pms))
        assert [one.external_id for one in page.listings] == [uuid_of(1), uuid_of(3)]
        assert page.notes == (GONE,)


def test_an_account_whose_properties_all_lost_their_images_is_not_empty() -> None:
    with FakeHospitable() as pms:
        pms.fail_next(3, 404, below="/v2/properties/")
        with pytest.raises(Unreachable) as raised:
            all_of(account_of(pms))
        assert raised.value.code == "bad_answer"


@pytest.mark.parametrize("images", [[], ["x"], {"data": []}])
def test_images_in_another_shape_are_an_invalid_response(images: Any) -> None:
    with FakeHospitable(listings=1) as pms:
        pms.fail_next(1, as_json(images), below="/v2/properties/")
        if isinstance(images, dict):
            assert all_of(account_of(pms))[0].listings[0].pictures == ()
            return
        with pytest.raises(Unreachable):
            all_of(account_of(pms))


def test_hospitable_says_when_its_limit_ends() -> None:
    with FakeHospitable() as pms:
        for text in (str(int(time.time()) + 40), "40"):
            pms.fail_next(1, PmsReply(429, b"", {"X-RateLimit-Reset": text}))
            with pytest.raises(Unreachable) as raised:
                all_of(account_of(pms))
            assert raised.value.retry_after_s in (39, 40)


@pytest.mark.parametrize("below", ["getHotels", "getHotelDetails", "getRoomTypes"])
def test_cloudbeds_reports_failures_with_status_200(below: str) -> None:
    with FakeCloudbeds() as pms:
        pms.fail_next(1, as_json({"success": False, "message": "secret words"}), below=f"/api/v1.3/{below}")
        with pytest.raises(Unreachable) as raised:
            all_of(account_of(pms))
        assert raised.value.code == "bad_answer"
        assert "words" not in raised.value.message


def test_a_hotel_removed_meanwhile_is_skipped() -> None:
    with FakeCloudbeds() as pms:
        pms.fail_next(1, 404, below="/api/v1.3/getRoomTypes")
        (page,) = all_of(account_of(pms))
        assert [one.external_id for one in page.listings] == ["2", "3"]
        assert page.notes == (GONE,)


def test_a_hotel_without_photos_has_the_image_of_the_list() -> None:
    with FakeCloudbeds(listings=1, pictures=0) as pms:
        (page,) = all_of(account_of(pms))
        assert page.listings[0].thumbnail_url == pms.url_of(pms.catalogue.listings[1].thumbnail)
