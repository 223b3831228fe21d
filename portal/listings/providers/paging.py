"""From page to page to an end, whatever a PMS says of its pages, and on from anywhere."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from portal.db import is_storable
from portal.listings.providers.base import Account, FoundListing, Page
from portal.remote import Refused

MAX_ON_A_PAGE = 100  # listings; what a PMS gives more of is handed on in parts
MAX_PICTURES_ON_A_PAGE = 5_000  # they are written in one change: 50,000 take 12 s, in which SQLite has no other writer
MAX_PAGES = 1_000
MAX_CURSOR = 500  # characters
ROOM_FOR_PARTS = 10  # of these, for the number of listings that a part leaves out

Ask = Callable[[str], Page]
"""Asks a PMS for the page that begins at a place in its own words, and names the next place in the page's cursor."""


@dataclass(frozen=True)
class _Cursor:
    """Where a page begins: at `start`, as the PMS has it, after `skipped` listings; and what came before it.

    `landmark` tells the last page again whose number was a power of two: so pages that go in circles are found
    soon, however long the circle is, also by one who begins in the middle.
    """

    start: str
    skipped: int = 0
    number: int = 1
    landmark: str = ""

    def __str__(self) -> str:
        return f"{self.number}:{self.skipped}:{self.landmark}:{self.start}"

    @classmethod
    def read(cls, text: str) -> "_Cursor":
        number, skipped, landmark, start = text.split(":", 3)
        return cls(start, int(skipped), int(number), landmark)


def walk(account: Account, cursor: str | None, ask: Ask, first: str) -> Iterator[Page]:
    """Yield page after page from a cursor, else from the place `first`. One without listings is the last.

    Raises Unreachable (`bad_answer`) where pages come again, and Refused (`cursor`) for one that isn't known.
    """
    here: _Cursor | None = _read(account, cursor, first) if cursor else _Cursor(first)
    while here:
        account.begin_page()
        for page, there in _parts(account, here, _asked(account, here, ask, is_resumed=bool(cursor))):
            yield replace(page, next_cursor=str(there) if there else None)
        here, cursor = there, None


def next_offset(offset: int, got: int, total: int | None) -> str | None:
    """Where the next page begins in a list that is counted; None where there is none.

    Only a total that is just reached ends it. One that is missing, or less than what came, says nothing: then an
    empty page does.
    """
    seen = offset + got
    return str(seen) if got and seen != total else None


def next_page(number: int, got: int, last: int | None) -> str | None:
    """The same in a list whose pages are counted, from 1."""
    return str(number + 1) if got and number != last else None


def _read(account: Account, cursor: str, first: str) -> _Cursor:
    try:
        here = _Cursor.read(cursor)
    except ValueError:
        raise _unknown(account) from None
    if first.isdigit() and not (here.start.isascii() and here.start.isdigit()):
        raise _unknown(account)  # it is a number where the first one is
    return here


def _asked(account: Account, here: _Cursor, ask: Ask, *, is_resumed: bool) -> Page:
    try:
        return ask(here.start)
    except Refused as refused:
        if is_resumed and refused.code == "http_error":  # a 400, 404 or 410 to a place that was one
            raise _unknown(account) from None
        raise


def _parts(account: Account, here: _Cursor, page: Page) -> Iterator[tuple[Page, _Cursor | None]]:
    """Yield a page in parts, each with what comes after it."""
    following = _following(account, here, page)
    part = here
    while True:
        end = _end_of_part(page.listings, part.skipped)
        is_last = end >= len(page.listings)
        after = following if is_last else replace(part, skipped=end)
        yield replace(page, listings=page.listings[part.skipped : end], is_cut=not is_last), after
        if is_last:
            return
        part = replace(part, skipped=end)


def _end_of_part(listings: Sequence[FoundListing], start: int) -> int:
    """Where a part ends that begins here: one listing at least, and no more than is written in a moment."""
    pictures = itertools.accumulate(len(one.pictures) for one in listings[start : start + MAX_ON_A_PAGE])
    return start + max(1, sum(so_far <= MAX_PICTURES_ON_A_PAGE for so_far in pictures))


def _following(account: Account, here: _Cursor, page: Page) -> _Cursor | None:
    if not page.listings:
        return None
    told = _fingerprint(page.listings)
    if told == here.landmark:
        raise account.bad_answer("comes again, page after page")
    if page.next_cursor is None:
        return None
    is_landmark = here.number & (here.number - 1) == 0
    there = _Cursor(page.next_cursor, 0, here.number + 1, told if is_landmark else here.landmark)
    if there.number > MAX_PAGES:
        raise account.bad_answer("has no end")
    if len(str(there)) > MAX_CURSOR - ROOM_FOR_PARTS or not is_storable(there.start):
        raise account.bad_answer("has a link that can't be kept")
    return there


def _fingerprint(listings: Sequence[FoundListing]) -> str:
    return hashlib.sha256("\0".join(one.external_id for one in listings).encode()).hexdigest()[:16]


def _unknown(account: Account) -> Refused:
    return Refused(f"{account.provider.name} doesn't know where we stopped any more.", code="cursor")
