"""Hospitable: numbered pages, one more call for each property's images, an order field, a personal token.

https://developer.hospitable.com
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from portal.listings.providers import normal, paging
from portal.listings.providers.base import Account, Field, FoundListing, Limit, Page, Provider
from portal.listings.providers.fields import BASE_URL, header_value

PER_PAGE = 20  # 21 calls: a page takes less than PAGE_DEADLINE_S at two seconds a call


class Hospitable(Provider):
    """The token, personal or from OAuth, is sent with each call. Hospitable publishes no rate limits."""

    key = "HOSPITABLE"
    name = "Hospitable"
    base_url = "https://public.api.hospitable.com/v2"
    fields = (
        Field("accessToken", "Access token", is_secret=True, hint="It needs property:read", wrong=header_value),
        BASE_URL,
    )
    limits = (Limit(40, 10),)

    def sign_in(self, account: Account) -> None:
        return None

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, int(start)), first="1")


def _page(account: Account, number: int) -> Page:
    answer = account.get_object("/properties", {"page": number, "per_page": PER_PAGE}, _auth_headers(account))
    notes: set[str] = set()
    found = normal.listings(account, answer.get("data"), lambda item: _listing(account, item, notes))
    meta = normal.as_object(answer.get("meta"))
    next_page = paging.next_page(number, len(answer["data"]), normal.as_count(meta.get("last_page")))
    return Page(found, next_page, normal.as_count(meta.get("total")), tuple(notes))


def _listing(account: Account, item: dict[str, Any], notes: set[str]) -> FoundListing | None:
    external_id = normal.as_id(item.get("id"))
    if not external_id:
        return None
    answer = account.find_object(f"/properties/{quote(external_id, safe='')}/images", None, _auth_headers(account))
    if answer is None:
        notes.add(normal.GONE)
        return None
    images, disagrees = normal.in_order(normal.as_objects(answer.get("data")), "order")
    if disagrees:
        notes.add(normal.DISAGREES)
    pictures = normal.pictures(normal.picture(image.get("url"), description=image.get("caption")) for image in images)
    return FoundListing(
        external_id,
        normal.as_text(item.get("public_name")) or normal.as_text(item.get("name")),
        normal.as_url(item.get("picture")) or normal.first(pictures),
        pictures,
    )


def _auth_headers(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials['accessToken']}"}
