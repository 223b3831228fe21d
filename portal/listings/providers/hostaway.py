"""Hostaway: offset and limit, pictures with an order field, a token that is valid for two years.

https://api.hostaway.com/documentation
"""

from collections.abc import Iterator
from typing import Any

from portal.listings.providers import normalize, oauth, paging
from portal.listings.providers.base import Account, FoundListing, Limit, Page, Provider, Token
from portal.listings.providers.fields import BASE_URL

PER_PAGE = 100
ORDER = "name"  # none of the documented orders of GET /listings (order, contactName, latestActivity …) is unique


class Hostaway(Provider):
    """`status: fail` may come with a 200. `thumbnailUrl` is deprecated: the first picture is the thumbnail."""

    key = "HOSTAWAY"
    name = "Hostaway"
    base_url = "https://api.hostaway.com/v1"
    fields = (*oauth.fields("Account ID", "API key", "Hostaway → Settings → Hostaway API"), BASE_URL)
    limits = (Limit(15, 10, "host"), Limit(20, 10, "account"))
    valid_after_s = 1.0  # pause before a new token is accepted

    def sign_in(self, account: Account) -> Token:
        return oauth.sign_in(account, "/accessTokens", scope="general", valid_after_s=self.valid_after_s)

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="0")


def _page(account: Account, offset: int) -> Page:
    params = {"limit": PER_PAGE, "offset": offset, "includeResources": 1, "sortOrder": ORDER}
    response = account.get_object("/listings", params, account.bearer())
    if response.get("status") != "success":
        raise account.bad_response()
    notes: set[str] = set()
    found = normalize.listings(account, response.get("result"), lambda item: _listing(item, notes))
    total = normalize.as_count(response.get("count"))
    next_offset = paging.next_offset(offset, len(response["result"]), total)
    return Page(found, next_offset, total, tuple(notes))


def _listing(item: dict[str, Any], notes: set[str]) -> FoundListing:
    images, disagrees = normalize.in_order(normalize.as_objects(item.get("listingImages")), "sortOrder")
    if disagrees:
        notes.add(normalize.DISAGREES)
    pictures = normalize.pictures(
        normalize.picture(image.get("url"), description=image.get("caption"), external_id=image.get("id"))
        for image in images
    )
    return FoundListing(
        normalize.as_id(item.get("id")),
        normalize.as_text(item.get("name")) or normalize.as_text(item.get("internalListingName")),
        normalize.first_url(pictures) or normalize.as_url(item.get("thumbnailUrl")),
        pictures,
    )
