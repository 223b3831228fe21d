"""Any system that can give a JSON feed: where its fields stand is said by paths with dots.

A feed `{"listings": [{"id", "name", "thumbnailURL", "pictures": [{"url", "description"}]}], "next": …}` needs
none. `next` is a link at the same host, or, with `cursorParameter`, what to send in that parameter. A feed
without `next`, or one that is a list, is one page; it may have 20 MB.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from portal.listings.providers import normal, paging
from portal.listings.providers.base import Account, Field, FoundListing, Limit, Page, Provider
from portal.listings.providers.fields import address, header_name, header_value

PATHS = {
    "listPath": "listings",
    "idPath": "id",
    "namePath": "name",
    "thumbnailPath": "thumbnailURL",
    "picturesPath": "pictures",
    "pictureURLPath": "url",
    "descriptionPath": "description",
    "nextPath": "next",
}
_LABELS = ("Listings", "Id", "Name", "Thumbnail", "Pictures", "Picture URL", "Description", "Next page")


class Generic(Provider):
    """Its fields are the feed's address, one header, and the paths."""

    key = "GENERIC"
    name = "JSON feed"
    base_url = ""
    fields = (
        Field("url", "Feed URL", wrong=address),
        Field("headerName", "Header", is_optional=True, hint="X-Api-Key", wrong=header_name),
        Field("headerValue", "Value of the header", is_secret=True, is_optional=True, wrong=header_value),
        *(
            Field(name, f"Path: {label}", is_optional=True, hint=PATHS[name])
            for name, label in zip(PATHS, _LABELS, strict=True)
        ),
        Field("cursorParameter", "Parameter of the next page", is_optional=True, hint="Where it is not a link"),
    )
    limits = (Limit(60, 60, "host"),)

    def sign_in(self, account: Account) -> None:
        return None

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        return paging.walk(account, cursor, lambda start: _page(account, start), first="")


def _page(account: Account, start: str) -> Page:
    given = account.credentials
    paths = {name: given.get(name) or usual for name, usual in PATHS.items()}
    name, value = given.get("headerName"), given.get("headerValue")
    here = _address(account, start)
    said = account.get(here, None, {name: value} if name and value else None)
    items = said if isinstance(said, list) else _dig(said, paths["listPath"])
    found = normal.listings(account, items, lambda item: _listing(item, paths))
    return Page(found, _next(account, here, _dig(said, paths["nextPath"])))


def _listing(item: dict[str, Any], paths: dict[str, str]) -> FoundListing:
    pictures = normal.pictures(
        normal.picture(one)
        if isinstance(one, str)
        else normal.picture(_dig(one, paths["pictureURLPath"]), description=_dig(one, paths["descriptionPath"]))
        for one in normal.as_list(_dig(item, paths["picturesPath"]))
    )
    return FoundListing(
        normal.as_id(_dig(item, paths["idPath"])),
        normal.as_text(_dig(item, paths["namePath"])),
        normal.as_url(_dig(item, paths["thumbnailPath"])) or normal.first(pictures),
        pictures,
    )


def _dig(value: Any, path: str) -> Any:
    """What stands at a path like `data.photos.0.url`; None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _address(account: Account, start: str) -> str:
    """Where a page is. Whatever a link says, Account goes to no other host."""
    feed, parameter = account.credentials["url"], account.credentials.get("cursorParameter")
    if not start or not parameter:
        return start or feed
    url = urlsplit(feed)
    asked = [*((name, value) for name, value in parse_qsl(url.query) if name != parameter), (parameter, start)]
    return url._replace(query=urlencode(asked), fragment="").geturl()


def _next(account: Account, here: str, said: Any) -> str | None:
    text = str(said).strip() if isinstance(said, str) or type(said) is int else ""
    if not text or account.credentials.get("cursorParameter"):
        return text or None
    try:
        return urljoin(here, text)
    except ValueError:
        raise account.bad_answer("has a link to nowhere") from None
