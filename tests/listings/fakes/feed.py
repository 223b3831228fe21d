"""A fake JSON feed: with linked pages or a cursor, and optionally with other field names."""

from __future__ import annotations

import itertools
from typing import Any

from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, as_json

KEY = "feed-key-Wb2"


class FakeFeed(FakePms):
    """`per_page`: None for a feed with one page. `is_linked`: whether the next page is a link, else a cursor."""

    def __init__(self, *, listings: int = 3, pictures: int = 4, per_page: int | None = None) -> None:
        super().__init__(listings=listings, pictures=pictures)
        self.feed_url = f"{self.url}/export/feed.json?lang=en"
        self.credentials = {"url": self.feed_url, "headerName": "X-Feed-Key", "headerValue": KEY}
        self.per_page = per_page
        self.is_linked = True
        self.is_bare = False  # a list, without an object around it

    def say(self, asked: PmsRequest) -> PmsReply:
        if asked.headers.get("X-Feed-Key") != KEY:
            return as_json({"error": "no key"}, 403)
        if asked.path != "/export/feed.json" or asked.query.get("lang") != "en":
            return as_json({"error": "no such feed"}, 404)
        start, of_all = int(asked.query.get("after") or 0), self.arranged()
        end = len(of_all) if self.per_page is None else start + self.per_page
        found = [self.twist(self._listing(one)) for one in itertools.islice(of_all, start, end)]
        if self.is_bare:
            return as_json(found)
        following = (f"?lang=en&after={end}" if self.is_linked else end) if end < len(of_all) else None
        return as_json({"listings": found, "next": following})

    def _listing(self, listing: FakeListing) -> dict[str, Any]:
        return {
            "id": f"home-{listing.id}",
            "name": listing.name,
            "thumbnailURL": self.url_of(listing.thumbnail),
            "pictures": [
                {"url": self.url_of(picture), "description": picture.description} for picture in listing.pictures
            ],
        }
