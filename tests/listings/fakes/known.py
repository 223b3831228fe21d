"""Each provider with its fake, and how the adapter should normalise the fake's listings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import FakePms
from portal.listings.providers import ALL
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import FoundListing, Picture, Token
from tests.listings.fakes.cloudbeds import FakeCloudbeds
from tests.listings.fakes.feed import FakeFeed
from tests.listings.fakes.guesty import FakeGuesty
from tests.listings.fakes.hospitable import FakeHospitable, uuid_of

TOKEN = "a-token-that-nobody-may-read"


def hostaway(pms: FakePms, listing: FakeListing) -> FoundListing:
    pictures = tuple(Picture(pms.url_of(one), one.description, str(one.id)) for one in listing.pictures)
    return FoundListing(str(listing.id), listing.name, pictures[0].url, pictures)


def hospitable(pms: FakePms, listing: FakeListing) -> FoundListing:
    pictures = tuple(Picture(pms.url_of(one), one.description) for one in listing.pictures)
    return FoundListing(uuid_of(listing.id), listing.name, pms.url_of(listing.thumbnail), pictures)


def guesty(pms: FakePms, listing: FakeListing) -> FoundListing:
    pictures = tuple(Picture(pms.url_of(one), one.description, f"pic{one.id}") for one in listing.pictures)
    return FoundListing(f"guesty{listing.id:06}", listing.name, pms.url_of(listing.thumbnail), pictures)


def cloudbeds(pms: FakePms, listing: FakeListing) -> FoundListing:
    rooms = ["", "", "Double", "Suite"]
    pictures = tuple(
        Picture(pms.url_of(one), room, room=f"{listing.id}-{room}" if room else "")
        for one, room in zip(listing.pictures, rooms, strict=True)
    )
    return FoundListing(str(listing.id), listing.name, pictures[0].url, pictures)


def feed(pms: FakePms, listing: FakeListing) -> FoundListing:
    pictures = tuple(Picture(pms.url_of(one), one.description) for one in listing.pictures)
    return FoundListing(f"home-{listing.id}", listing.name, pms.url_of(listing.thumbnail), pictures)


@dataclass(frozen=True)
class Known:
    """A provider's fake, how many listings fill three of its pages, and the path that lists them."""

    make: Callable[..., Any]
    expected: Callable[[FakePms, FakeListing], FoundListing]
    listings: int
    sizes: list[int]
    path: str
    pictures: str  # the list of pictures in what the fake's twist gets
    url: str  # the URL in one of them


KNOWN = {
    "HOSTAWAY": Known(FakeHostaway, hostaway, 205, [100, 100, 5], "/v1/listings", "listingImages", "url"),
    "HOSPITABLE": Known(FakeHospitable, hospitable, 45, [20, 20, 5], "/v2/properties", "images", "url"),
    "GUESTY": Known(FakeGuesty, guesty, 205, [100, 100, 5], "/v1/listings", "pictures", "original"),
    "CLOUDBEDS": Known(FakeCloudbeds, cloudbeds, 25, [10, 10, 5], "/api/v1.3/", "propertyImage", "image"),
    "GENERIC": Known(FakeFeed, feed, 205, [100, 100, 5], "/export/", "pictures", "url"),
}
assert KNOWN.keys() == ALL.keys()


def key_of(pms: FakePms) -> str:
    return next(key for key, known in KNOWN.items() if isinstance(pms, known.make))


def account_of(pms: FakePms, deadline_s: float = 60, **changed: str) -> HttpAccount:
    """An account that is signed in already, if the provider needs that."""
    if isinstance(pms, FakeHostaway):
        pms.tokens[TOKEN] = 0.0
    if isinstance(pms, FakeGuesty):
        pms.tokens.add(TOKEN)
    token = Token(TOKEN, 0, 2e9) if hasattr(pms, "tokens") else None
    return HttpAccount(ALL[key_of(pms)], pms.credentials | changed, token, deadline_s=deadline_s)
