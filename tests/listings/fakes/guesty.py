"""A fake Guesty: five tokens in 24 hours, three rate limits, `original` among other sizes."""

from __future__ import annotations

import itertools
import math
from typing import Any

from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.server import FakePms, PmsReply, PmsRequest, Window, as_json

CLIENT_ID, CLIENT_SECRET = "0oa-guesty-client", "guesty-secret-kR7"


class FakeGuesty(FakePms):
    def __init__(self, *, listings: int = 3, pictures: int = 4) -> None:
        super().__init__(listings=listings, pictures=pictures)
        self.base_url = self.url
        self.credentials = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET, "baseUrl": self.base_url}
        self.tokens: set[str] = set()
        self._a_day = Window(5, 24 * 3600)
        self._windows = [Window(15, 1), Window(120, 60), Window(5000, 3600)]

    def limited(self, asked: PmsRequest) -> PmsReply | None:
        wait_s = max(window.wait_s("") for window in self._windows)
        return as_json("Too many requests", 429, Retry_After=str(math.ceil(wait_s))) if wait_s else None

    def say(self, asked: PmsRequest) -> PmsReply:
        if (asked.method, asked.path) == ("POST", "/oauth2/token"):
            return self._token(asked.form)
        if asked.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return as_json({"error": {"code": "UNAUTHORIZED", "message": "Unauthorized"}}, 401)
        if (asked.method, asked.path) == ("GET", "/v1/listings"):
            return self._page(asked.query)
        return as_json({"error": {"code": "NOT_FOUND", "message": "Not Found"}}, 404)

    def _token(self, form: dict[str, str]) -> PmsReply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return as_json({"error": "invalid_client", "error_description": "No such client"}, 400)
        if (form.get("grant_type"), form.get("scope")) != ("client_credentials", "open-api"):
            return as_json({"error": "invalid_scope"}, 400)
        if wait_s := self._a_day.wait_s(""):
            return as_json({"error": "too_many_tokens"}, 429, Retry_After=str(math.ceil(wait_s)))
        token = f"guesty-token-{len(self.tokens)}-mQ4"
        self.tokens.add(token)
        return as_json({"token_type": "Bearer", "expires_in": 86400, "access_token": token, "scope": "open-api"})

    def _page(self, query: dict[str, str]) -> PmsReply:
        limit, skip = min(int(query.get("limit") or 25), 100), int(query.get("skip") or 0)
        is_unique = query.get("sort") == "_id"  # by default it is sorted by title
        of_all = list(self.catalogue.listings.values()) if is_unique else self.arranged()
        wanted = query.get("fields", "").split()
        found = [self._listing(one) for one in itertools.islice(of_all, skip, skip + limit)]
        results = [
            self.twist({name: value for name, value in one.items() if not wanted or name in wanted}) for one in found
        ]
        return as_json({"results": results, "limit": limit, "skip": skip, "count": len(of_all)})

    def _listing(self, listing: FakeListing) -> dict[str, Any]:
        pictures = [
            {
                "_id": f"pic{picture.id}",
                "original": self.url_of(picture),
                "large": self.url_of(picture) + "?large",
                "regular": self.url_of(picture) + "?regular",
                "thumbnail": self.url_of(picture) + "?thumbnail",
                "caption": picture.description,
            }
            for picture in listing.pictures
        ]
        return {
            "_id": f"guesty{listing.id:06}",
            "title": listing.name,
            "nickname": f"#{listing.id}",
            "picture": {"thumbnail": self.url_of(listing.thumbnail), "caption": "Cover"},
            "pictures": pictures,
            "accommodates": 4,
            "pms": {"active": True},
        }
