"""A fake Hospitable: numbered pages, images by a separate call, a rate limit that says when it ends."""

from __future__ import annotations

import itertools
import math
import time
import uuid
from typing import Any

from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, Window, as_json

TOKEN = "hospitable-pat-Zq9"


def uuid_of(listing: int) -> str:
    return str(uuid.UUID(int=listing))


class FakeHospitable(FakePms):
    def __init__(self, *, listings: int = 3, pictures: int = 4) -> None:
        super().__init__(listings=listings, pictures=pictures)
        self.base_url = f"{self.url}/v2"
        self.credentials = {"accessToken": TOKEN, "baseUrl": self.base_url}
        self.window = Window(1000, 60)

    def limited(self, asked: PmsRequest) -> PmsReply | None:
        if wait_s := self.window.wait_s(""):
            reset_at = math.ceil(time.time() + wait_s)
            return as_json({"message": "Too Many Attempts."}, 429, X_RateLimit_Reset=str(reset_at))
        return None

    def say(self, asked: PmsRequest) -> PmsReply:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return as_json({"status_code": 401, "reason_phrase": "Unauthenticated."}, 401)
        if asked.path == "/v2/properties":
            return self._page(asked.query)
        for listing in self.catalogue.listings.values():
            if asked.path == f"/v2/properties/{uuid_of(listing.id)}/images":
                return as_json({"data": self.twist({"images": self._images(listing)})["images"]})
        return as_json({"status_code": 404, "reason_phrase": "Not Found"}, 404)

    def _page(self, query: dict[str, str]) -> PmsReply:
        page, per_page = int(query.get("page") or 1), int(query.get("per_page") or 10)
        if not 1 <= per_page <= 100:
            return as_json({"status_code": 400, "reason_phrase": "Invalid pagination parameter supplied."}, 400)
        of_all = self.arranged()
        found = itertools.islice(of_all, (page - 1) * per_page, page * per_page)
        last = max(1, math.ceil(len(of_all) / per_page))
        meta = {"current_page": page, "last_page": last, "per_page": per_page, "total": len(of_all)}
        links = {"next": f"{self.base_url}/properties?page={page + 1}" if page < last else None}
        return as_json({"data": [self.twist(self._property(one)) for one in found], "links": links, "meta": meta})

    def _property(self, listing: FakeListing) -> dict[str, Any]:
        return {
            "id": uuid_of(listing.id),
            "name": f"#{listing.id}",
            "public_name": listing.name,
            "picture": self.url_of(listing.thumbnail),
            "timezone": "+0100",
            "listed": True,
        }

    def _images(self, listing: FakeListing) -> list[dict[str, Any]]:
        return [
            {
                "url": self.url_of(picture),
                "thumbnail_url": self.url_of(picture) + "?small",
                "caption": picture.description,
                "order": place,
                "last_updated_at": f"2026-01-01T00:{picture.version:02}:00.000000Z",
            }
            for place, picture in enumerate(listing.pictures)
        ]
