"""A fake Hostaway, with its tokens, envelope, pages and rate limits.

https://api.hostaway.com/documentation
"""

import itertools
import math
import secrets
import time
from typing import Any

from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, Window, as_json

CLIENT_ID, CLIENT_SECRET = "12345", "a-secret-for-trying-things"
LIVES_S = 15_897_600
TOO_MANY = (
    "This error occurs because a server detects that your application has exceeded the rate limits or has made too "
    "many requests in a given period of time."
)


class FakeHostaway(FakePms):
    """Has one account. `tokens` maps issued tokens to the time from which they are valid."""

    valid_after_s = 1.0  # pause before a new token is accepted

    def __init__(self, *, listings: int = 3, pictures: int = 4, port: int = 0) -> None:
        super().__init__(listings=listings, pictures=pictures, port=port)
        self.base_url = f"{self.url}/v1"
        self.credentials = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "baseUrl": self.base_url}
        self.tokens: dict[str, float] = {}
        self._per_ip, self._per_account = Window(15, 10), Window(20, 10)

    def limited(self, asked: PmsRequest) -> PmsReply | None:
        wait_s = self._per_ip.wait_s(asked.client) or self._per_account.wait_s(CLIENT_ID)
        return _fail(429, TOO_MANY, Retry_After=str(math.ceil(wait_s))) if wait_s else None

    def say(self, asked: PmsRequest) -> PmsReply:
        if (asked.method, asked.path) == ("POST", "/v1/accessTokens"):
            return self._token(asked.form)
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, math.inf) > time.time():
            return _fail(403, "Access denied")
        if (asked.method, asked.path) == ("GET", "/v1/listings"):
            return self._page(asked.query)
        return _fail(404, "Resource not found")

    def _token(self, form: dict[str, str]) -> PmsReply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return as_json({"error": "invalid_client", "message": "Client authentication failed"}, 401)
        if (form.get("grant_type"), form.get("scope")) != ("client_credentials", "general"):
            return as_json({"error": "unsupported_grant_type"}, 400)
        token = secrets.token_urlsafe(600)
        self.tokens[token] = time.time() + self.valid_after_s
        return as_json({"token_type": "Bearer", "expires_in": LIVES_S, "access_token": token})

    def _page(self, query: dict[str, str]) -> PmsReply:
        limit, offset = int(query.get("limit") or 100), int(query.get("offset") or 0)
        listings = self.arranged()
        has_resources = query.get("includeResources") == "1"
        result = [
            self.twist(self._listing(listing, has_resources=has_resources))
            for listing in itertools.islice(listings, offset, offset + limit)
        ]
        pages = math.ceil(len(listings) / limit)
        counts = {"count": len(listings), "page": offset // limit + 1, "totalPages": pages}
        return as_json({"status": "success", "result": result, "limit": limit, "offset": offset, **counts})

    def _listing(self, listing: FakeListing, *, has_resources: bool) -> dict[str, Any]:
        images = [
            {
                "id": picture.id,
                "caption": picture.description,
                "bookingEngineCaption": None,
                "vrboCaption": None,
                "airbnbCaption": picture.description,
                "url": self.url_of(picture),
                "sortOrder": place,
            }
            for place, picture in enumerate(listing.pictures, 1)
        ]
        return {
            "id": listing.id,
            "name": listing.name,
            "internalListingName": f"#{listing.id}",
            "description": "A home by the lake.",
            "thumbnailUrl": self.url_of(listing.thumbnail),
            "personCapacity": 4,
            "latestActivityOn": "2026-01-01 00:00:00",
            "listingImages": images if has_resources else [],
        }


def _fail(status: int, message: str, **headers: str) -> PmsReply:
    return as_json({"status": "fail", "message": message}, status, **headers)
