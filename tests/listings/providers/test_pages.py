"""All providers alike, over real HTTP: every page, every field, from any cursor, and every failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, as_json
from portal.errors import Problem
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Page
from portal.remote import RequestRefused, Unreachable
from tests.listings.fakes.feed import FakeFeed
from tests.listings.fakes.known import KNOWN, Known, account_of

pytestmark = pytest.mark.usefixtures("unlimited")


def walked(account: HttpAccount, cursor: str | None = None) -> list[Page]:
    return list(account.provider.pages(account, cursor))


def full(known: Known) -> FakePms:
    pms = known.make(listings=known.listings, pictures=4)
    if isinstance(pms, FakeFeed):
        pms.per_page = 100
    return pms


def test_every_listing_comes_with_all_its_fields(known: Known) -> None:
    with full(known) as pms:
        pages = walked(account_of(pms))
        found = [listing for page in pages for listing in page.listings]
        assert [len(page.listings) for page in pages] == known.sizes
        assert found == [known.expected(pms, listing) for listing in pms.catalogue.listings.values()]
        assert {page.total for page in pages} == {None if isinstance(pms, FakeFeed) else known.listings}
        assert {page.notes for page in pages} == {()}


def test_a_walk_resumes_from_any_cursor_with_another_account_object(known: Known) -> None:
    with full(known) as pms:
        pages = walked(account_of(pms))
        for place, page in enumerate(pages[:-1]):
            assert page.next_cursor and len(page.next_cursor) <= 500
            assert walked(account_of(pms), page.next_cursor) == pages[place + 1 :]
        assert pages[-1].next_cursor is None


def test_an_account_without_listings_is_one_page(known: Known) -> None:
    with known.make(listings=0) as pms:
        (page,) = walked(account_of(pms))
        assert (page.listings, page.next_cursor) == ((), None)


def test_a_list_that_became_shorter_ends(known: Known) -> None:
    with full(known) as pms:
        cursor = walked(account_of(pms))[1].next_cursor
        for listing in list(pms.catalogue.listings)[10:]:
            pms.catalogue.remove(listing)
        (page,) = walked(account_of(pms), cursor)
        assert (page.listings, page.next_cursor) == ((), None)


FIRST = {"offset": "0", "skip": "0", "page": "1", "pageNumber": "1", "after": "0"}


def test_an_endlessly_repeated_page_ends(known: Known) -> None:
    with full(known) as pms:
        cursor = next(account_of(pms).provider.pages(account_of(pms), None)).next_cursor
        say = pms.say
        pms.say = lambda asked: say(replace(asked, query=asked.query | FIRST))
        for begun in (None, cursor):
            with pytest.raises(Unreachable) as raised:
                walked(account_of(pms), begun)
            assert raised.value.code == "bad_answer"


def code_of(kind: type[Problem] | tuple[type[Problem], ...], account: HttpAccount, cursor: str | None = None) -> str:
    """The problem that reading an account's pages ends with."""
    with pytest.raises(kind) as raised:
        walked(account, cursor)
    return raised.value.code


def test_a_cursor_that_the_pms_rejects_has_its_own_code(known: Known) -> None:
    with full(known) as pms:
        cursor = walked(account_of(pms))[0].next_cursor
        codes = {}
        for status in (400, 404, 410, 422):
            pms.fail_next(1, status)
            resumed = code_of(RequestRefused, account_of(pms), cursor)
            pms.fail_next(1, status)
            codes[status] = resumed, code_of(RequestRefused, account_of(pms))
    each = "cursor", "http_error"  # on the first page there is no cursor to blame
    assert codes == dict.fromkeys((400, 404, 410, 422), each)


def test_a_foreign_cursor_has_its_own_code(known: Known) -> None:
    with known.make() as pms:
        assert walked(account_of(pms), "") == walked(account_of(pms))
        for cursor in ("?", "1:0", "1:0:x:/etc/passwd", "a:b:c:d", "1:0::²", "9" * 500):
            assert code_of((RequestRefused, Unreachable), account_of(pms), cursor) in ("cursor", "bad_answer"), cursor


BROKEN = {
    "no JSON": PmsReply(200, b"{"),
    "HTML": PmsReply(200, b"<html>Sign in</html>"),
    "nothing": PmsReply(200),
    "no text": PmsReply(200, b"\xff\xfe{}"),
    "too deep": PmsReply(200, b"[" * 200_000),
    "too long a number": PmsReply(200, b"1" * 5000),
    "null": as_json(None),
    "a text": as_json("ok"),
    "a list of lists": as_json([[1], [2]]),
    "an object": as_json({}),
}


def test_an_invalid_response_can_be_retried(known: Known) -> None:
    with known.make() as pms:
        codes = {}
        for name, said in BROKEN.items():
            pms.fail_next(1, said)
            codes[name] = code_of(Unreachable, account_of(pms)), len(walked(account_of(pms))[0].listings)
    assert codes == dict.fromkeys(BROKEN, ("bad_answer", 3))


def test_a_busy_server_is_asked_later(known: Known) -> None:
    with known.make() as pms:
        for status in (429, 500, 502, 503):
            pms.fail_next(1, PmsReply(status, b"no", {"Retry-After": "7"}))
            with pytest.raises(Unreachable) as raised:
                walked(account_of(pms))
            assert (raised.value.code, raised.value.retry_after_s) == ("http_error", 7), status


def test_invalid_credentials_are_reported_in_a_sentence(known: Known) -> None:
    with known.make() as pms:
        name = account_of(pms).provider.name
        for status in (401, 403):
            pms.fail_next(1, status)
            with pytest.raises(RequestRefused) as raised:
                walked(account_of(pms))
            said = raised.value.code, raised.value.message
            assert said == ("credentials", f"{name} rejected these credentials."), status


def test_credentials_unknown_to_the_fake_are_refused(known: Known) -> None:
    with known.make() as pms:
        secret = next(field.name for field in account_of(pms).provider.fields if field.is_secret)
        account = account_of(pms, **{secret: "another"})
        with pytest.raises(RequestRefused) as raised:
            if hasattr(pms, "tokens"):
                account.provider.sign_in(account)
            walked(account)
        assert raised.value.code == "credentials"


def odd(known: Known, change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A twist that changes a listing's pictures, wherever the provider has them."""

    def twist(listing: dict[str, Any]) -> dict[str, Any]:
        if known.pictures in listing:
            listing[known.pictures] = change(listing[known.pictures])
        return listing

    return twist


def test_odd_urls_are_repaired_or_skipped(known: Known) -> None:
    urls = [
        "//pms.example/1.jpg",
        " http://pms.example/2 b.jpg ",
        "",
        None,
        7,
        {"href": "https://pms.example/x.jpg"},
        "ftp://pms.example/3.jpg",
        "data:image/png;base64,AAAA",
        "https:///4.jpg",
        "/5.jpg",
        "https://pms.example/1.jpg",  # the same as the first
        "HTTPS://pms.example/6.jpg",
        "https://pms.example/\0.jpg",
        "https://pms.example/\ud800.jpg",
        "https://pms.example/" + "x" * 2048,
        "https://pms.example/7.jpg",
    ]
    with known.make(listings=1, pictures=1 if known is KNOWN["CLOUDBEDS"] else 4) as pms:
        pms.twist = odd(known, lambda pictures: [pictures[0] | {known.url: url} for url in urls] + [None, 1, []])
        (page,) = walked(account_of(pms))
        assert [picture.url for picture in page.listings[0].pictures] == [
            "https://pms.example/1.jpg",
            "http://pms.example/2%20b.jpg",
            "HTTPS://pms.example/6.jpg",
            "https://pms.example/7.jpg",
        ]


def test_anything_but_a_list_of_pictures_is_no_pictures(known: Known) -> None:
    with known.make(listings=2, pictures=1) as pms:
        for pictures in (None, {}, "none", 3, [[]], [None], True):
            pms.twist = odd(known, lambda _, pictures=pictures: pictures)
            (page,) = walked(account_of(pms))
            assert [listing.pictures for listing in page.listings] == [(), ()], pictures
            assert page.listings[0].thumbnail_url, "a thumbnail of its own, if it has one"


def test_at_most_five_hundred_pictures_are_taken(known: Known) -> None:
    with known.make(listings=1, pictures=1) as pms:
        pms.twist = odd(
            known, lambda pictures: [pictures[0] | {known.url: f"https://pms.example/{n}.jpg"} for n in range(501)]
        )
        (page,) = walked(account_of(pms))
        assert len(page.listings[0].pictures) == 500


def test_an_unreadable_page_is_no_empty_account(known: Known) -> None:
    """Otherwise all its listings would count as removed."""
    with known.make() as pms:
        say = pms.say

        def without_ids(asked: PmsRequest) -> PmsReply:
            said = say(asked)
            return replace(
                said,
                body=said.body.replace(b'"id"', b'"uid"')
                .replace(b'"_id"', b'"uid"')
                .replace(b'"propertyID"', b'"uid"'),
            )

        pms.say = without_ids
        with pytest.raises(Unreachable) as raised:
            walked(account_of(pms))
        assert raised.value.code == "bad_answer"
