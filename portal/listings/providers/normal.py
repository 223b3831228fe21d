"""Whatever a PMS says, in our shape: what can't be used is left out, and nothing of it raises.

The rules are one for all adapters; what each field is called is the adapter's own business.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from math import inf, isnan
from typing import Any

from portal.listings.providers.base import Account, FoundListing, Picture

MAX_URL, MAX_NAME, MAX_ID, MAX_DESCRIPTION = 2048, 300, 120, 2000  # characters
MAX_PICTURES = 500
MAX_LOOKED_AT = 10 * MAX_PICTURES  # of one listing: what is no picture takes time too
DISAGREES = "Some pictures are numbered in another order than they are listed in: their numbers are used."
GONE = "A listing was removed while we looked at it."

_HTTP = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_text(value: Any, most: int = MAX_NAME) -> str:
    """A text that every database keeps, cut; of anything else none."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode(errors="ignore").decode().strip()[:most].rstrip()


def as_id(value: Any) -> str:
    """An id as text; none where it is no id, or one that would not be the same once it is stored."""
    if type(value) is int and -(10 ** (MAX_ID - 1)) < value < 10**MAX_ID:
        return str(value)
    text = value.strip() if isinstance(value, str) else ""
    return text if text == as_text(text, MAX_ID) else ""


def as_count(value: Any) -> int | None:
    """A number of things, also one that came as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return value if type(value) is int and 0 <= value < 10**9 else None


def as_url(value: Any) -> str | None:
    """A web address as it stands; `//host/…` becomes https, and a space what browsers make of it."""
    text = value.strip().replace(" ", "%20") if isinstance(value, str) else ""
    text = f"https:{text}" if text.startswith("//") else text
    return text if len(text) <= MAX_URL and text.isprintable() and _HTTP.match(text) else None


def in_order(items: list[dict[str, Any]], by: str) -> tuple[list[dict[str, Any]], bool]:
    """Sort by the order field, then by place in the array; say whether the two disagree.

    What has no order of its own comes last.
    """
    items = items[:MAX_LOOKED_AT]
    ranks = [_rank(item.get(by)) for item in items]
    places = sorted(range(len(items)), key=lambda place: (ranks[place], place))
    return [items[place] for place in places], places != list(range(len(items)))


def pictures(found: Iterable[Picture | None]) -> tuple[Picture, ...]:
    """Leave out what is none, and what has the URL of an earlier one."""
    first: dict[str, Picture] = {}
    for picture in islice(found, MAX_LOOKED_AT):
        if picture:
            first.setdefault(picture.url, picture)
    return tuple(islice(first.values(), MAX_PICTURES))


def picture(url: Any, *, description: Any = "", external_id: Any = "", room: str = "") -> Picture | None:
    """One picture; None without a URL that can be one."""
    address = as_url(url)
    if address is None:
        return None
    return Picture(address, as_text(description, MAX_DESCRIPTION), as_id(external_id), room)


def first(pictures: tuple[Picture, ...]) -> str | None:
    """The first picture's URL, for a listing that has no thumbnail of its own."""
    return pictures[0].url if pictures else None


def listings(
    account: Account, items: Any, read: Callable[[dict[str, Any]], FoundListing | None]
) -> tuple[FoundListing, ...]:
    """Read a page's listings; of the same id twice the first, and none without one.

    Raises Unreachable where it is no list, or nothing in it can be read: an account must not look empty by mistake.
    """
    first: dict[str, FoundListing] = {}
    for item in as_objects(items):
        listing = read(item)
        if listing and listing.external_id:
            first.setdefault(listing.external_id, listing)
    if not isinstance(items, list) or (items and not first):
        raise account.bad_answer()
    return tuple(first.values())


def _rank(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return inf if isnan(rank := float(value)) else rank
    return inf
