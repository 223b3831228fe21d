"""Guesty: skip and limit, pictures in order, five tokens a day.

https://open-api-docs.guesty.com
"""

from collections.abc import Iterator
from typing import Any

from portal.listings.providers import normalize, oauth, paging
from portal.listings.providers.base import Account, FoundListing, Limit, Page, Provider, Token
from portal.listings.providers.fields import BASE_URL

PER_PAGE = 100
FIELDS = "_id title nickname picture pictures"  # of a listing's many fields
# The default, `title` (OpenAPI document, GET /listings), is not unique. For paging, the guide "How to Search for
# Reservations" recommends unique values such as `_id`.
ORDER = "_id"


class Guesty(Provider):
    """A key gets at most five tokens in 24 hours, each valid for 24 hours, so a token is kept until it expires."""

    key = "GUESTY"
    name = "Guesty"
    base_url = "https://open-api.guesty.com"
    fields = (*oauth.fields("Client ID", "Client secret", "Guesty → Integrations → OAuth applications"), BASE_URL)
    limits = (Limit(15, 1), Limit(120, 60), Limit(5000, 3600))

    def sign_in(self, account: Account) -> Token:
        return oauth.sign_in(account, "/oauth2/token", scope="open-api")

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="0")


def _page(account: Account, skip: int) -> Page:
    params = {"limit": PER_PAGE, "skip": skip, "fields": FIELDS, "sort": ORDER}
    response = account.get_object("/v1/listings", params, account.bearer())
    found = normalize.listings(account, response.get("results"), _listing)
    total = normalize.as_count(response.get("count"))
    return Page(found, paging.next_offset(skip, len(response["results"]), total), total)


def _listing(item: dict[str, Any]) -> FoundListing:
    """Use the original of each picture; the other sizes derive from it."""
    pictures = normalize.pictures(
        normalize.picture(picture.get("original"), description=picture.get("caption"), external_id=picture.get("_id"))
        for picture in normalize.as_objects(item.get("pictures"))
    )
    cover = normalize.as_object(item.get("picture"))
    return FoundListing(
        normalize.as_id(item.get("_id")),
        normalize.as_text(item.get("title")) or normalize.as_text(item.get("nickname")),
        normalize.as_url(cover.get("thumbnail"))
        or normalize.as_url(cover.get("original"))
        or normalize.first_url(pictures),
        pictures,
    )
