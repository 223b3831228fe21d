"""Hospitable: numbered pages, one more call for each property's images, an order field, a personal token.

https://developer.hospitable.com
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from portal.listings.providers import normalize, paging
from portal.listings.providers.base import Account, Field, FoundListing, Limit, Page, Provider
from portal.listings.providers.fields import BASE_URL, header_value

PER_PAGE = 20  # 21 calls: a page takes less than PAGE_DEADLINE_S at two seconds a call


class Hospitable(Provider):
    """The token, personal or from OAuth, is sent with each call. Hospitable publishes no rate limits."""

    key = "HOSPITABLE"
    name = "Hospitable"
    base_url = "https://public.api.hospitable.com/v2"
    fields = (
        Field("accessToken", "Access token", is_secret=True, hint="It needs property:read", validate=header_value),
        BASE_URL,
    )
    limits = (Limit(40, 10),)

    def sign_in(self, account: Account) -> None:
        return None

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="1")


def _page(account: Account, number: int) -> Page:
    response = account.get_object("/properties", {"page": number, "per_page": PER_PAGE}, _auth_headers(account))
    notes: set[str] = set()
    found = normalize.listings(account, response.get("data"), lambda item: _listing(account, item, notes))
    meta = normalize.as_object(response.get("meta"))
    next_page = paging.next_page(number, len(response["data"]), normalize.as_count(meta.get("last_page")))
    return Page(found, next_page, normalize.as_count(meta.get("total")), tuple(notes))


def _listing(account: Account, item: dict[str, Any], notes: set[str]) -> FoundListing | None:
    external_id = normalize.as_id(item.get("id"))
    if not external_id:
        return None
    response = account.find_object(f"/properties/{quote(external_id, safe='')}/images", None, _auth_headers(account))
    if response is None:
        notes.add(normalize.GONE)
        return None
    images, disagrees = normalize.in_order(normalize.as_objects(response.get("data")), "order")
    if disagrees:
        notes.add(normalize.DISAGREES)
    pictures = normalize.pictures(
        normalize.picture(image.get("url"), description=image.get("caption")) for image in images
    )
    return FoundListing(
        external_id,
        normalize.as_text(item.get("public_name")) or normalize.as_text(item.get("name")),
        normalize.as_url(item.get("picture")) or normalize.first_url(pictures),
        pictures,
    )


def _auth_headers(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials['accessToken']}"}
