"""Paging through a PMS's list: always terminates, and resumes at any cursor."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from portal.db import is_storable
from portal.listings.providers.base import Account, FoundListing, Page
from portal.remote import RequestRefused

MAX_LISTINGS_PER_PAGE = 100  # larger responses are yielded in parts
MAX_PICTURES_PER_PAGE = 5_000  # written in one transaction: 50,000 take 12 s, during which SQLite has no other writer
MAX_PAGES = 1_000
MAX_CURSOR = 500  # characters
RESERVED_FOR_PARTS = 10  # of MAX_CURSOR, reserved for the number of skipped listings

FetchPage = Callable[[str], Page]
"""Fetches the page at a PMS's own cursor; the page's `next_cursor` is the PMS's own too."""


@dataclass(frozen=True)
class _Cursor:
    """Where a page begins: at the PMS's cursor `start`, after `skipped` listings of its response.

    `landmark` is the fingerprint of the latest page whose number was a power of two. A page that equals it reveals a
    cycle soon, whatever its length and wherever the walk resumed (Brent's algorithm).
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


def walk(account: Account, cursor: str | None, fetch_page: FetchPage, first: str) -> Iterator[Page]:
    """Yield the pages from a cursor, or else from the PMS's cursor `first`. A page without listings is the last.

    Raises Unreachable (`bad_answer`) if pages repeat, and RequestRefused (`cursor`) for an unknown cursor.
    """
    here: _Cursor | None = _read(account, cursor, first) if cursor else _Cursor(first)
    while here:
        account.begin_page()
        for page, following in _parts(account, here, _fetch(account, here, fetch_page, is_resumed=bool(cursor))):
            yield replace(page, next_cursor=str(following) if following else None)
        here, cursor = following, None


def next_offset(offset: int, count: int, total: int | None) -> str | None:
    """Return the next offset as text, or None at the end.

    Only a total that is exactly reached ends the list. If it is missing or too small, an empty page does.
    """
    seen = offset + count
    return str(seen) if count and seen != total else None


def next_page(number: int, count: int, last: int | None) -> str | None:
    """Return the next page number as text, or None at the end. Pages are numbered from 1."""
    return str(number + 1) if count and number != last else None


def _read(account: Account, cursor: str, first: str) -> _Cursor:
    try:
        here = _Cursor.read(cursor)
    except ValueError:
        raise _unknown_cursor(account) from None
    if first.isdigit() and not (here.start.isascii() and here.start.isdigit()):
        raise _unknown_cursor(account)  # numeric cursors stay numeric
    return here


def _fetch(account: Account, here: _Cursor, fetch_page: FetchPage, *, is_resumed: bool) -> Page:
    try:
        return fetch_page(here.start)
    except RequestRefused as refused:
        if is_resumed and refused.code == "http_error":  # a 400, 404 or 410 for a cursor that the PMS issued
            raise _unknown_cursor(account) from None
        raise


def _parts(account: Account, here: _Cursor, page: Page) -> Iterator[tuple[Page, _Cursor | None]]:
    """Yield the parts of a page, each with the cursor of the next one."""
    following = _following(account, here, page)
    part = here
    while True:
        end = _end_of_part(page.listings, part.skipped)
        is_last = end >= len(page.listings)
        after = following if is_last else replace(part, skipped=end)
        yield replace(page, listings=page.listings[part.skipped : end], has_more_parts=not is_last), after
        if is_last:
            return
        part = replace(part, skipped=end)


def _end_of_part(listings: Sequence[FoundListing], start: int) -> int:
    """Return the end of the part at `start`: at least one listing, and no more than one transaction should write."""
    part = listings[start : start + MAX_LISTINGS_PER_PAGE]
    pictures = itertools.accumulate(len(listing.pictures) for listing in part)
    return start + max(1, sum(so_far <= MAX_PICTURES_PER_PAGE for so_far in pictures))


def _following(account: Account, here: _Cursor, page: Page) -> _Cursor | None:
    if not page.listings:
        return None
    fingerprint = _fingerprint(page.listings)
    if fingerprint == here.landmark:
        raise account.bad_response("repeats earlier pages")
    if page.next_cursor is None:
        return None
    is_landmark = here.number & (here.number - 1) == 0
    following = _Cursor(page.next_cursor, 0, here.number + 1, fingerprint if is_landmark else here.landmark)
    if following.number > MAX_PAGES:
        raise account.bad_response("has too many pages")
    if len(str(following)) > MAX_CURSOR - RESERVED_FOR_PARTS or not is_storable(following.start):
        raise account.bad_response("has a next-page cursor that can't be stored")
    return following


def _fingerprint(listings: Sequence[FoundListing]) -> str:
    return hashlib.sha256("\0".join(listing.external_id for listing in listings).encode()).hexdigest()[:16]


def _unknown_cursor(account: Account) -> RequestRefused:
    return RequestRefused(f"{account.provider.name} no longer accepts the cursor of this sync.", code="cursor")
