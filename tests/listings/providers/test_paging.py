"""Paging ends, whatever a PMS answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.listings.providers import ALL, paging
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import FoundListing, Page, Picture
from portal.remote import RequestRefused, Unreachable

ACCOUNT = HttpAccount(ALL["HOSTAWAY"], {})


def page(*ids: object, then: str | None) -> Page:
    return Page(tuple(FoundListing(str(one), "", None, ()) for one in ids), then)


def steps(fetch_page: Callable[[str], Page], cursor: str | None = None) -> tuple[int, str]:
    """Walk to the end; return the number of pages, and why it ended."""
    count = 0
    try:
        for _ in paging.walk(ACCOUNT, cursor, fetch_page, "0"):
            count += 1
    except Unreachable as error:
        return count, error.message
    return count, ""


@given(before=st.integers(0, 40), around=st.integers(1, 40))
def test_circular_pages_are_detected_soon(before: int, around: int) -> None:
    def fetch_page(start: str) -> Page:
        place = int(start)
        return page(place if place < before else before + (place - before) % around, then=str(place + 1))

    count, why = steps(fetch_page)
    assert "repeats earlier pages" in why
    assert count <= 3 * max(before, around) + around + 2


def test_a_circle_is_detected_when_pages_are_taken_one_at_a_time() -> None:
    cursor, count = None, 0
    with pytest.raises(Unreachable):
        while True:
            found = next(
                paging.walk(ACCOUNT, cursor, lambda start: page(int(start) % 3, then=str(int(start) + 1)), "0")
            )
            cursor, count = found.next_cursor, count + 1
    assert count <= 8


def test_endless_pages_end() -> None:
    count, why = steps(lambda start: page(start, then=str(int(start) + 1)))
    assert (count, "too many pages" in why) == (paging.MAX_PAGES - 1, True)


def test_a_page_without_listings_is_the_last() -> None:
    assert steps(lambda start: page(then="7")) == (1, "")


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
def test_a_large_page_comes_in_parts_and_can_be_resumed_from_each(count: int) -> None:
    asked: list[str] = []

    def fetch_page(start: str) -> Page:
        asked.append(start)
        return page(*range(count), then="1" if count else None) if start == "0" else page("last", then=None)

    pages = list(paging.walk(ACCOUNT, None, fetch_page, "0"))
    assert [one.external_id for part in pages for one in part.listings] == [
        *map(str, range(count)),
        *(["last"] if count else []),
    ]
    assert max(len(part.listings) for part in pages) <= 100
    assert asked == (["0", "1"] if count else ["0"])
    for place, part in enumerate(pages[:-1]):
        assert list(paging.walk(ACCOUNT, part.next_cursor, fetch_page, "0")) == pages[place + 1 :]


@given(st.text(max_size=60) | st.from_regex(r"-?\d{1,4}:-?\d{1,4}:[0-9a-f]{0,16}:.{0,9}", fullmatch=True))
def test_no_cursor_breaks_paging(cursor: str) -> None:
    try:
        pages = list(paging.walk(ACCOUNT, cursor, lambda start: page(int(start), then=None), "0"))
    except RequestRefused as refused:
        assert refused.code == "cursor"
    else:
        assert pages[-1].next_cursor is None


@pytest.mark.parametrize(
    ("offset", "got", "total", "then"),
    [
        (0, 100, 205, "100"),
        (200, 5, 205, None),
        (0, 100, None, "100"),
        (0, 5, None, "5"),
        (5, 0, None, None),
        (5, 0, 99, None),
        (100, 5, 0, "105"),
    ],
)
def test_only_a_total_that_is_exactly_reached_ends_a_list(offset: int, got: int, total: int | None, then: str) -> None:
    assert paging.next_offset(offset, got, total) == then


def test_a_page_with_many_pictures_comes_in_parts_too() -> None:
    """Each part is one transaction, which blocks other writers."""

    def fetch_page(_: str) -> Page:
        return Page(tuple(FoundListing(str(n), "", None, pictures) for n in range(30)), None)

    pictures = tuple(Picture(f"https://img.example/{n}.jpg") for n in range(500))
    parts = list(paging.walk(ACCOUNT, None, fetch_page, "0"))
    assert [len(part.listings) for part in parts] == [10, 10, 10]
    pictures *= 20
    assert [len(part.listings) for part in paging.walk(ACCOUNT, None, fetch_page, "0")] == [1] * 30


@pytest.mark.parametrize(
    "length",
    [pytest.param(n, marks=() if n in (476, 491, 500) else pytest.mark.slow) for n in range(440, 510, 3)],
)
def test_a_parts_cursor_can_be_stored_too(length: int) -> None:
    """The appended number of listings makes it longer than the page's cursor."""

    def fetch_page(start: str) -> Page:
        return page(*range(9_000), then=None) if start else page("first", then="x" * length)

    with suppress(Unreachable):  # the link itself is too long
        for each in paging.walk(ACCOUNT, None, fetch_page, ""):
            assert len(each.next_cursor or "") <= paging.MAX_CURSOR
