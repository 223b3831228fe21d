"""Normalization of PMS data into the common shape. Unusable values are dropped without an error.

All adapters share these rules; only the field names differ.
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
MAX_ENTRIES = 10 * MAX_PICTURES  # read per listing: unusable ones take time too
DISAGREES = "The numbers of some pictures disagree with the order they are listed in. The numbers are used."
GONE = "A listing was removed during the sync."

_HTTP = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_text(value: Any, max_length: int = MAX_NAME) -> str:
    """Return a string that every database can store, truncated to `max_length`; '' for anything else."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode(errors="ignore").decode().strip()[:max_length].rstrip()


def as_id(value: Any) -> str:
    """Return an id as text; '' for a value that isn't an id or couldn't be stored unchanged."""
    if type(value) is int and -(10 ** (MAX_ID - 1)) < value < 10**MAX_ID:
        return str(value)
    text = value.strip() if isinstance(value, str) else ""
    return text if text == as_text(text, MAX_ID) else ""


def as_count(value: Any) -> int | None:
    """Return a count, also from text, or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return value if type(value) is int and 0 <= value < 10**9 else None


def as_url(value: Any) -> str | None:
    """Return a URL, or None. `//host/…` becomes https, and spaces become %20, as in browsers."""
    text = value.strip().replace(" ", "%20") if isinstance(value, str) else ""
    text = f"https:{text}" if text.startswith("//") else text
    return text if len(text) <= MAX_URL and text.isprintable() and _HTTP.match(text) else None


def in_order(items: list[dict[str, Any]], by: str) -> tuple[list[dict[str, Any]], bool]:
    """Sort by the order field, then by index; also return whether the two disagree.

    Items without an order come last.
    """
    items = items[:MAX_ENTRIES]
    ranks = [_rank(item.get(by)) for item in items]
    indexes = sorted(range(len(items)), key=lambda index: (ranks[index], index))
    return [items[index] for index in indexes], indexes != list(range(len(items)))


def pictures(found: Iterable[Picture | None]) -> tuple[Picture, ...]:
    """Return the pictures without None and without repeated URLs."""
    first: dict[str, Picture] = {}
    for picture in islice(found, MAX_ENTRIES):
        if picture:
            first.setdefault(picture.url, picture)
    return tuple(islice(first.values(), MAX_PICTURES))


def picture(url: Any, *, description: Any = "", external_id: Any = "", room: str = "") -> Picture | None:
    """Return a picture, or None without a usable URL."""
    address = as_url(url)
    if address is None:
        return None
    return Picture(address, as_text(description, MAX_DESCRIPTION), as_id(external_id), room)


def first_url(pictures: tuple[Picture, ...]) -> str | None:
    """Return the URL of the first picture, for listings without a thumbnail of their own."""
    return pictures[0].url if pictures else None


def listings(
    account: Account, items: Any, read: Callable[[dict[str, Any]], FoundListing | None]
) -> tuple[FoundListing, ...]:
    """Read a page's listings, without repeated or missing ids.

    Raises Unreachable if `items` isn't a list or nothing in it is readable: an account must not look empty by mistake.
    """
    first: dict[str, FoundListing] = {}
    for item in as_objects(items):
        listing = read(item)
        if listing and listing.external_id:
            first.setdefault(listing.external_id, listing)
    if not isinstance(items, list) or (items and not first):
        raise account.bad_response()
    return tuple(first.values())


def _rank(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return inf if isnan(rank := float(value)) else rank
    return inf
