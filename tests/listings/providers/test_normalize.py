"""Whatever a PMS answers, it is normalised to our shape or becomes a Problem, and nothing else."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.db import is_storable
from portal.demo.pms.server import as_json
from portal.listings.providers import ALL, normalize
from portal.listings.providers.base import Page
from portal.remote import RequestRefused, Unreachable
from tests.listings.fakes.known import KNOWN, account_of

MANY = int(os.environ.get("EXAMPLES", "100"))

ODD = ["", " ", "\0", "\ud800", "id", "id\0", "1", "-1", "²", "1e999", "NaN", "true", "success", "x" * 400]
URLS = ["//img.example/1.jpg", "https://img.example/1.jpg", "http://img.example/a b.jpg", "https://" + "x" * 3000]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.sampled_from(ODD + URLS)
    | st.text(st.characters(), max_size=20)
    | st.just(10**400)
)


def json_with(words: list[str]) -> st.SearchStrategy[Any]:
    """Any JSON in which the words that an adapter looks for are likely."""
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(words) | st.text(), inner, max_size=8)
        ),
        max_leaves=40,
    )


WORDS = {
    "HOSTAWAY": "result count id name thumbnailUrl listingImages url caption sortOrder",
    "GUESTY": "results count _id title nickname picture pictures original thumbnail caption",
    "HOSPITABLE": "data meta last_page total id public_name picture url caption order",
    "CLOUDBEDS": "data total propertyID propertyName propertyImage image propertyAdditionalPhotos propertyRooms "
    "roomTypeID roomTypeName roomTypePhotos",
    "GENERIC": "listings next id name thumbnailURL pictures url description",
}
LISTS = {"HOSTAWAY": "result", "GUESTY": "results", "HOSPITABLE": "data", "CLOUDBEDS": "data", "GENERIC": "listings"}
AROUND = {"HOSTAWAY": {"status": "success"}, "CLOUDBEDS": {"success": True}}


def shaped(key: str) -> st.SearchStrategy[Any]:
    """The right envelope around anything, including listings that have at least an id."""
    words, around = WORDS[key].split(), AROUND.get(key, {})
    anything = json_with(words)
    listing = st.dictionaries(st.sampled_from(words), anything, max_size=10)
    with_id = listing.map(lambda one: one | {"id": 1, "_id": 1, "propertyID": 1})
    return st.builds(
        lambda listings, rest: rest | around | {LISTS[key]: listings},
        st.lists(with_id | listing, max_size=5),
        st.dictionaries(st.sampled_from(words), anything, max_size=4),
    )


def assert_in_our_shape(page: Page) -> None:
    assert len(page.listings) <= 100
    assert page.next_cursor is None or (len(page.next_cursor) <= 500 and is_storable(page.next_cursor))
    assert page.total is None or page.total >= 0
    assert len({one.external_id for one in page.listings}) == len(page.listings)
    for listing in page.listings:
        urls = [picture.url for picture in listing.pictures]
        assert len(set(urls)) == len(urls) <= 500
        assert 0 < len(listing.external_id) <= 120
        assert len(listing.name) <= 300
        for url in [*urls, *([listing.thumbnail_url] if listing.thumbnail_url is not None else [])]:
            assert url.lower().startswith(("https://", "http://"))
            assert len(url) <= 2048
        texts = [listing.external_id, listing.name, listing.thumbnail_url or "", *urls]
        texts += [text for one in listing.pictures for text in (one.description, one.external_id, one.room)]
        assert all(map(is_storable, texts))


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("key", list(ALL))
@pytest.mark.parametrize(
    "examples", [4, pytest.param(MANY, id="many", marks=[pytest.mark.storm, pytest.mark.timeout(900)])]
)
def test_arbitrary_json_raises_nothing_but_problems(key: str, examples: int) -> None:
    anything, found = json_with(WORDS[key].split()), 0
    with KNOWN[key].make() as pms:

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(shaped(key), min_size=1, max_size=3) | st.lists(anything, min_size=1, max_size=3))
        def hears(answers: list[Any]) -> None:
            nonlocal found
            said = iter(answers)
            pms.say = lambda asked: as_json(next(said, answers[-1]))
            account = account_of(pms)
            try:
                for page in islice(account.provider.pages(account, None), 4):
                    assert_in_our_shape(page)
                    found += len(page.listings)
            except (RequestRefused, Unreachable) as problem:
                assert problem.code in ("bad_answer", "invalid_url", "http_error")

        hears()
    assert found or examples < 10, "otherwise it would see refusals only"


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        (7, "7"),
        (0, "0"),
        (" a ", "a"),
        ("", ""),
        (None, ""),
        (True, ""),
        (1.0, ""),
        ([], ""),
        ("x" * 121, ""),
        ("x" * 120, "x" * 120),
        ("a\0b", ""),
        ("\ud800", ""),
        (10**120, ""),
        (10**119, "1" + "0" * 119),
        (1 - 10**119, "-" + "9" * 119),
        (1 - 10**120, ""),
    ],
)
def test_an_id_is_the_whole_id_or_none(value: Any, id_: str) -> None:
    assert normalize.as_id(value) == id_


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" Mill ", "Mill"),
        ("a\0b", "ab"),
        ("a\ud800b", "ab"),
        ("x" * 400, "x" * 300),
        (5, ""),
        (None, ""),
        ("é" * 3, "é" * 3),
    ],
)
def test_a_text_is_reduced_to_what_every_database_stores(value: Any, text: str) -> None:
    assert normalize.as_text(value) == text
