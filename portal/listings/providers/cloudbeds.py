"""Cloudbeds: hotels with their rooms, two calls more for each, in an envelope that says `success`.

https://developers.cloudbeds.com
"""

import math
from collections.abc import Iterator
from typing import Any

from portal.listings.providers import normal, paging
from portal.listings.providers.base import Account, Field, FoundListing, Limit, Page, Picture, Provider
from portal.listings.providers.fields import BASE_URL, header_value

PER_PAGE = 10  # hotels: 21 calls
MOST_ROOM_TYPES = 100  # of one hotel; more would have more pictures than a listing may have


class Cloudbeds(Provider):
    """A hotel is a listing, its rooms' photos stand after its own: a room has no address and no page by itself.

    `success: false` comes with a 200 too.
    """

    key = "CLOUDBEDS"
    name = "Cloudbeds"
    base_url = "https://api.cloudbeds.com/api/v1.3"
    fields = (
        Field("apiKey", "API key", is_secret=True, hint="It needs read:hotel and read:room", wrong=header_value),
        BASE_URL,
    )
    limits = (Limit(5, 1),)

    def sign_in(self, account: Account) -> None:
        return None

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="1")


def _page(account: Account, number: int) -> Page:
    asked = {"pageNumber": number, "pageSize": PER_PAGE}
    said = _opened(account, account.get_object("/getHotels", asked, _let_in(account)))
    notes: set[str] = set()
    found = normal.listings(account, said.get("data"), lambda item: _listing(account, item, notes))
    total = normal.as_count(said.get("total"))
    last = None if total is None else math.ceil(total / PER_PAGE)
    return Page(found, paging.next_page(number, len(said["data"]), last), total, tuple(notes))


def _listing(account: Account, item: dict[str, Any], notes: set[str]) -> FoundListing | None:
    external_id = normal.as_id(item.get("propertyID"))
    if not external_id:
        return None
    hotel = account.find_object("/getHotelDetails", {"propertyID": external_id}, _let_in(account))
    of_hotel = {"propertyIDs": external_id, "pageSize": MOST_ROOM_TYPES}
    rooms = hotel and account.find_object("/getRoomTypes", of_hotel, _let_in(account))
    if hotel is None or rooms is None:
        notes.add(normal.GONE)
        return None
    details = normal.as_object(_opened(account, hotel).get("data"))
    pictures = normal.pictures([*_own(details), *_of_rooms(_opened(account, rooms).get("data"))])
    return FoundListing(
        external_id,
        normal.as_text(details.get("propertyName")) or normal.as_text(item.get("propertyName")),
        normal.first(pictures) or normal.as_url(item.get("propertyImage")),
        pictures,
    )


def _own(details: dict[str, Any]) -> Iterator[Picture | None]:
    for name in ("propertyImage", "propertyAdditionalPhotos"):
        for photo in normal.as_objects(details.get(name)):
            yield normal.picture(photo.get("image"))


def _of_rooms(data: Any) -> Iterator[Picture | None]:
    for group in normal.as_objects(data):
        for room in normal.as_objects(group.get("propertyRooms")):
            room_id, name = normal.as_id(room.get("roomTypeID")), room.get("roomTypeName")
            for photo in normal.as_objects(room.get("roomTypePhotos")):
                yield normal.picture(photo.get("image"), description=name, room=room_id)


def _opened(account: Account, envelope: dict[str, Any]) -> dict[str, Any]:
    if envelope.get("success") is not True:
        raise account.bad_answer()
    return envelope


def _let_in(account: Account) -> dict[str, str]:
    return {"x-api-key": account.credentials["apiKey"]}
