"""A fake Cloudbeds: hotels, their details and their rooms; it reports failures with status 200."""

from __future__ import annotations

import itertools
import math
from typing import Any

from portal.demo.pms.catalogue import FakeListing, FakePicture
from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, Window, as_json

API_KEY = "cbat_cloudbeds_Yp3"


class FakeCloudbeds(FakePms):
    """The first picture of each listing belongs to the hotel, the second is an additional one, the rest show two
    rooms."""

    def __init__(self, *, listings: int = 3, pictures: int = 4) -> None:
        super().__init__(listings=listings, pictures=pictures)
        self.base_url = f"{self.url}/api/v1.3"
        self.credentials = {"apiKey": API_KEY, "baseUrl": self.base_url}
        self.window = Window(5, 1)

    def limited(self, asked: PmsRequest) -> PmsReply | None:
        wait_s = self.window.wait_s("")
        return as_json({"success": False, "message": "Slow down"}, 429, Retry_After="1") if wait_s else None

    def say(self, asked: PmsRequest) -> PmsReply:
        if asked.headers.get("x-api-key") != API_KEY:
            return as_json({"success": False, "message": "Invalid API key"}, 401)
        name = asked.path.removeprefix("/api/v1.3/")
        if name == "getHotels":
            return self._hotels(int(asked.query.get("pageNumber") or 1), int(asked.query.get("pageSize") or 20))
        listing = self.catalogue.listings.get(_number(asked.query, "propertyID", "propertyIDs"))
        if listing is None:
            return as_json({"success": False, "message": "No such property"})
        if name == "getHotelDetails":
            return as_json({"success": True, "data": self.twist(self._details(listing))})
        if name == "getRoomTypes":
            return as_json({"success": True, "data": [self._rooms(listing)], "count": 2, "total": 2})
        return as_json({"success": False, "message": "No such method"}, 404)

    def _hotels(self, page: int, size: int) -> PmsReply:
        of_all = self.arranged()
        found = [
            {
                "propertyID": str(one.id),
                "organizationID": "7",
                "propertyName": one.name,
                "propertyImage": self.url_of(one.thumbnail),
                "propertyTimezone": "Europe/Lisbon",
            }
            for one in itertools.islice(of_all, (page - 1) * size, page * size)
        ]
        return as_json({"success": True, "data": found, "count": len(found), "total": len(of_all)})

    def _details(self, listing: FakeListing) -> dict[str, Any]:
        return {
            "propertyID": str(listing.id),
            "propertyName": listing.name,
            "propertyType": "Hotel",
            "propertyImage": self._photos(listing.pictures[:1]),
            "propertyAdditionalPhotos": self._photos(listing.pictures[1:2]),
        }

    def _rooms(self, listing: FakeListing) -> dict[str, Any]:
        half = math.ceil((len(listing.pictures) - 2) / 2) + 2
        rooms = [("Double", listing.pictures[2:half]), ("Suite", listing.pictures[half:])]
        return {
            "propertyID": str(listing.id),
            "propertyRooms": [
                {
                    "roomTypeID": f"{listing.id}-{name}",
                    "roomTypeName": name,
                    "roomTypePhotos": self._photos(pictures),
                }
                for name, pictures in rooms
            ],
        }

    def _photos(self, pictures: list[FakePicture]) -> list[dict[str, str]]:
        return [{"thumb": self.url_of(picture) + "?thumb", "image": self.url_of(picture)} for picture in pictures]


def _number(query: dict[str, str], *names: str) -> int:
    return next((int(query[name]) for name in names if name in query), 0)
