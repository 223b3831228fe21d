"""JSON feeds of any system; dotted paths tell where the fields are.

A feed `{"listings": [{"id", "name", "thumbnailURL", "pictures": [{"url", "description"}]}], "next": …}` needs no paths.
`next` is a link on the same host or, with `cursorParameter`, the value of that query parameter. A feed without `next`,
or one that is an array, is a single page of at most 20 MB.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from portal.listings.providers import normalize, paging
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
    """An account has the feed's URL, one optional header, and the paths."""

    key = "GENERIC"
    name = "JSON feed"
    base_url = ""
    fields = (
        Field("url", "Feed URL", validate=address),
        Field("headerName", "Header", is_optional=True, hint="X-Api-Key", validate=header_name),
        Field("headerValue", "Value of the header", is_secret=True, is_optional=True, validate=header_value),
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
    credentials = account.credentials
    paths = {name: credentials.get(name) or usual for name, usual in PATHS.items()}
    name, value = credentials.get("headerName"), credentials.get("headerValue")
    url = _page_url(account, start)
    response = account.get(url, None, {name: value} if name and value else None)
    items = response if isinstance(response, list) else _dig(response, paths["listPath"])
    found = normalize.listings(account, items, lambda item: _listing(item, paths))
    return Page(found, _next(account, url, _dig(response, paths["nextPath"])))


def _listing(item: dict[str, Any], paths: dict[str, str]) -> FoundListing:
    pictures = normalize.pictures(
        normalize.picture(entry)
        if isinstance(entry, str)
        else normalize.picture(_dig(entry, paths["pictureURLPath"]), description=_dig(entry, paths["descriptionPath"]))
        for entry in normalize.as_list(_dig(item, paths["picturesPath"]))
    )
    return FoundListing(
        normalize.as_id(_dig(item, paths["idPath"])),
        normalize.as_text(_dig(item, paths["namePath"])),
        normalize.as_url(_dig(item, paths["thumbnailPath"])) or normalize.first_url(pictures),
        pictures,
    )


def _dig(value: Any, path: str) -> Any:
    """Return the value at a path like `data.photos.0.url`, or None if there is none."""
    for step in path.split("."):
        if isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _page_url(account: Account, start: str) -> str:
    """Return the URL of a page. Links to other hosts are refused by HttpAccount."""
    feed, parameter = account.credentials["url"], account.credentials.get("cursorParameter")
    if not start or not parameter:
        return start or feed
    url = urlsplit(feed)
    query = [*((name, value) for name, value in parse_qsl(url.query) if name != parameter), (parameter, start)]
    return url._replace(query=urlencode(query), fragment="").geturl()


def _next(account: Account, url: str, value: Any) -> str | None:
    text = str(value).strip() if isinstance(value, str) or type(value) is int else ""
    if not text or account.credentials.get("cursorParameter"):
        return text or None
    try:
        return urljoin(url, text)
    except ValueError:
        raise account.bad_response("has an invalid link to the next page") from None
