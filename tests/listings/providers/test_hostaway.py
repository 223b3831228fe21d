"""Hostaway's rules: its token, its order field, its envelope."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply, as_json
from portal.listings import providers
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Page
from portal.listings.providers.normalize import DISAGREES
from portal.remote import RequestRefused, Unreachable
from tests.listings.fakes.known import account_of

HOSTAWAY = providers.find("hostaway")

pytestmark = pytest.mark.usefixtures("unlimited")


@pytest.fixture
def pms() -> Iterator[FakeHostaway]:
    with FakeHostaway() as pms:
        yield pms


def all_of(account: HttpAccount) -> list[Page]:
    return list(HOSTAWAY.pages(account, None))


def test_a_token_is_awaited_until_it_is_valid(pms: FakeHostaway) -> None:
    account = HttpAccount(HOSTAWAY, pms.credentials)
    account.token = HOSTAWAY.sign_in(account)
    assert account.token
    hasty = HttpAccount(HOSTAWAY, pms.credentials, account.token._replace(valid_from=0))
    with pytest.raises(RequestRefused):
        all_of(hasty)
    assert len(all_of(account)[0].listings) == 3
    assert (pms.count("/v1/accessTokens"), pms.count("/v1/listings", 403)) == (1, 1)
    assert account.token.valid_until - time.time() > 180 * 24 * 3600


def test_one_token_serves_many_pages(pms: FakeHostaway) -> None:
    for _ in range(200):
        pms.catalogue.add(0)
    account = account_of(pms)
    assert len(all_of(account)) == 3
    assert (pms.count("/v1/accessTokens"), pms.count("/v1/listings")) == (0, 3)


def test_an_expired_token_is_reported_as_invalid_credentials(pms: FakeHostaway) -> None:
    account = account_of(pms)
    pms.tokens.clear()
    with pytest.raises(RequestRefused) as raised:
        all_of(account)
    assert raised.value.code == "credentials"


@pytest.mark.parametrize(
    "said",
    [
        as_json({}),
        as_json({"access_token": None, "expires_in": 9}),
        as_json({"access_token": ""}),
        as_json({"access_token": "two\nlines"}),
        as_json({"access_token": "ünicode"}),
        as_json({"access_token": "x" * 9000}),
        as_json(["token"]),
        PmsReply(200, b"<html>"),
    ],
)
def test_a_token_that_cannot_be_sent_is_an_invalid_response(pms: FakeHostaway, said: PmsReply) -> None:
    pms.fail_next(1, said)
    with pytest.raises(Unreachable) as raised:
        HOSTAWAY.sign_in(HttpAccount(HOSTAWAY, pms.credentials))
    assert raised.value.code == "bad_answer"


@pytest.mark.parametrize("lives_s", [None, "long", -1, 0, True, 1e300, 10**30])
def test_a_token_without_a_lifetime_is_valid_for_an_hour(pms: FakeHostaway, lives_s: Any) -> None:
    pms.fail_next(1, as_json({"access_token": "x", "expires_in": lives_s}))
    token = HOSTAWAY.sign_in(HttpAccount(HOSTAWAY, pms.credentials))
    assert token
    assert 3590 < token.valid_until - time.time() <= 3600


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Unreachable), (500, Unreachable), (404, RequestRefused), (302, RequestRefused)]
)
def test_sign_in_failures_are_temporary_or_final(pms: FakeHostaway, status: int, kind: type[Exception]) -> None:
    pms.fail_next(1, PmsReply(status, b"", {"Retry-After": "3", "Location": "/elsewhere"}))
    with pytest.raises(kind) as raised:
        HOSTAWAY.sign_in(HttpAccount(HOSTAWAY, pms.credentials))
    assert raised.value.code == "http_error"
    assert getattr(raised.value, "retry_after_s", 3) == 3


def test_the_order_field_overrides_the_array_and_that_is_recorded(pms: FakeHostaway) -> None:
    def shuffle(listing: dict[str, Any]) -> dict[str, Any]:
        images = listing["listingImages"]
        images[0]["sortOrder"], images[1]["sortOrder"], images[2]["sortOrder"] = "30", 2, None
        return listing

    pms.twist = shuffle
    (page,) = all_of(account_of(pms))
    assert page.notes == (DISAGREES,)
    assert [picture.external_id for picture in page.listings[0].pictures] == ["1002", "1004", "1001", "1003"]
    assert page.listings[0].thumbnail_url == page.listings[0].pictures[0].url


@pytest.mark.parametrize("order", [[0, 0, 0, 0], [None] * 4, [-2, -1, 0, 1], [1, 2, 3, None], ["1", "2", "3", "4"]])
def test_an_order_equal_to_the_array_is_not_recorded(pms: FakeHostaway, order: list[Any]) -> None:
    def number(listing: dict[str, Any]) -> dict[str, Any]:
        for image, place in zip(listing["listingImages"], order, strict=True):
            image["sortOrder"] = place
        return listing

    pms.twist = number
    (page,) = all_of(account_of(pms))
    assert page.notes == ()
    assert [picture.external_id for picture in page.listings[0].pictures] == ["1001", "1002", "1003", "1004"]


def test_a_deprecated_thumbnail_is_used_when_there_is_no_other(pms: FakeHostaway) -> None:
    pms.twist = lambda listing: listing | {"listingImages": []}
    (page,) = all_of(account_of(pms))
    assert page.listings[1].thumbnail_url == pms.url_of(pms.catalogue.listings[2].thumbnail)


def test_listings_without_an_id_are_skipped_and_the_first_of_a_duplicate_id_counts(pms: FakeHostaway) -> None:
    def renumber(listing: dict[str, Any]) -> dict[str, Any]:
        return listing | {"id": {1: 7, 2: None, 3: "7"}[listing["id"]]}

    pms.twist = renumber
    (page,) = all_of(account_of(pms))
    assert [(one.external_id, one.name) for one in page.listings] == [("7", "Heron House 1")]


@pytest.mark.parametrize("total", [0, 1, 10**8, -5, None, "205", "many", 1.5])
def test_a_wrong_total_misses_no_listing(pms: FakeHostaway, total: Any) -> None:
    for _ in range(202):
        pms.catalogue.add(0)
    say = pms.say

    def lying(asked: Any) -> PmsReply:
        return as_json(json.loads(say(asked).body) | {"count": total})

    pms.say = lying
    assert [len(page.listings) for page in all_of(account_of(pms)) if page.listings] == [100, 100, 5]


@pytest.mark.parametrize("result", ["Something about it", [], None])
def test_a_failure_with_status_200_is_no_empty_account(pms: FakeHostaway, result: Any) -> None:
    pms.fail_next(1, as_json({"status": "fail", "result": result, "message": "Something about it"}))
    with pytest.raises(Unreachable) as raised:
        all_of(account_of(pms))
    assert raised.value.code == "bad_answer"
    assert "about" not in raised.value.message
