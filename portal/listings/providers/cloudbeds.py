"""Cloudbeds: hotels and their rooms, with two more calls for each hotel; responses have a `success` flag.

https://developers.cloudbeds.com
"""

import math
from collections.abc import Iterator
from typing import Any

from portal.listings.providers import normalize, paging
from portal.listings.providers.base import Account, Field, FoundListing, Limit, Page, Picture, Provider
from portal.listings.providers.fields import BASE_URL, header_value

PER_PAGE = 10  # hotels, which take 21 calls
MAX_ROOM_TYPES = 100  # of one hotel; more would exceed the pictures of a listing


class Cloudbeds(Provider):
    """A hotel becomes a listing, with its rooms' photos after its own: a room has no address or page of its own.

    `success: false` may come with a 200.
    """

    key = "CLOUDBEDS"
    name = "Cloudbeds"
    base_url = "https://api.cloudbeds.com/api/v1.3"
    fields = (
        Field("apiKey", "API key", is_secret=True, hint="It needs read:hotel and read:room", validate=header_value),
        BASE_URL,
    )
    limits = (Limit(5, 1),)

    def sign_in(self, account: Account) -> None:
        return None

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="1")


def _page(account: Account, number: int) -> Page:
    params = {"pageNumber": number, "pageSize": PER_PAGE}
    response = _demand_success(account, account.get_object("/getHotels", params, _auth_headers(account)))
    notes: set[str] = set()
    found = normalize.listings(account, response.get("data"), lambda item: _listing(account, item, notes))
    total = normalize.as_count(response.get("total"))
    last = None if total is None else math.ceil(total / PER_PAGE)
    return Page(found, paging.next_page(number, len(response["data"]), last), total, tuple(notes))


def _listing(account: Account, item: dict[str, Any], notes: set[str]) -> FoundListing | None:
    external_id = normalize.as_id(item.get("propertyID"))
    if not external_id:
        return None
    hotel = account.find_object("/getHotelDetails", {"propertyID": external_id}, _auth_headers(account))
    params = {"propertyIDs": external_id, "pageSize": MAX_ROOM_TYPES}
    rooms = hotel and account.find_object("/getRoomTypes", params, _auth_headers(account))
    if hotel is None or rooms is None:
        notes.add(normalize.GONE)
        return None
    details = normalize.as_object(_demand_success(account, hotel).get("data"))
    room_groups = _demand_success(account, rooms).get("data")
    pictures = normalize.pictures([*_hotel_pictures(details), *_room_pictures(room_groups)])
    return FoundListing(
        external_id,
        normalize.as_text(details.get("propertyName")) or normalize.as_text(item.get("propertyName")),
        normalize.first_url(pictures) or normalize.as_url(item.get("propertyImage")),
        pictures,
    )


def _hotel_pictures(details: dict[str, Any]) -> Iterator[Picture | None]:
    for name in ("propertyImage", "propertyAdditionalPhotos"):
        for photo in normalize.as_objects(details.get(name)):
            yield normalize.picture(photo.get("image"))


def _room_pictures(data: Any) -> Iterator[Picture | None]:
    for group in normalize.as_objects(data):
        for room in normalize.as_objects(group.get("propertyRooms")):
            room_id, name = normalize.as_id(room.get("roomTypeID")), room.get("roomTypeName")
            for photo in normalize.as_objects(room.get("roomTypePhotos")):
                yield normalize.picture(photo.get("image"), description=name, room=room_id)


def _demand_success(account: Account, envelope: dict[str, Any]) -> dict[str, Any]:
    if envelope.get("success") is not True:
        raise account.bad_response()
    return envelope


def _auth_headers(account: Account) -> dict[str, str]:
    return {"x-api-key": account.credentials["apiKey"]}
