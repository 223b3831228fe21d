"""The interface of PMS adapters: they yield listings in one shape, page by page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from portal.remote import Unreachable

Params = Mapping[str, Any] | None
Headers = Mapping[str, str] | None


@dataclass(frozen=True)
class Picture:
    """A picture of a listing, as the PMS returns it now. Its position is its index in the list."""

    url: str
    description: str = ""
    external_id: str = ""
    room: str = ""  # the PMS's id of the room that it shows, if any


@dataclass(frozen=True)
class FoundListing:
    """A listing as the PMS returns it now, in the common shape."""

    external_id: str
    name: str
    thumbnail_url: str | None
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Page:
    """Some listings, and the cursor of the next page (None on the last). `total` is None if the PMS doesn't count."""

    listings: tuple[FoundListing, ...]
    next_cursor: str | None = None
    total: int | None = None
    notes: tuple[str, ...] = field(default=())  # oddities in the data, as sentences for people
    has_more_parts: bool = False  # the next page is part of the same response, which was too large for one transaction


class Token(NamedTuple):
    """An access token, valid from `valid_from` to `valid_until`, in seconds since 1970."""

    secret: str
    valid_from: float
    valid_until: float

    def __repr__(self) -> str:
        return f"Token(…, {self.valid_from:.0f} to {self.valid_until:.0f})"  # without its secret


@dataclass(frozen=True)
class Field:
    """A credential or setting of an account."""

    name: str  # camelCase, as the API spells it
    label: str
    is_secret: bool = False
    is_optional: bool = False
    hint: str = ""
    validate: Callable[[str], str | None] | None = None  # returns what is wrong with a value, as a sentence, or None


class Limit(NamedTuple):
    """At most `calls` in `seconds`, per "account", or per "host" for all accounts of a PMS."""

    calls: int
    seconds: int
    per: str = "account"


class Account(Protocol):
    """The client through which an adapter calls an account's PMS; `account.HttpAccount` in production."""

    provider: "Provider"
    credentials: Mapping[str, str]
    token: Token | None

    def begin_page(self) -> None: ...
    def get(self, path: str, params: Params = None, headers: Headers = None) -> Any: ...
    def get_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any]: ...
    def find_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any] | None: ...
    def post_form(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]: ...
    def bearer(self) -> dict[str, str]: ...
    def bad_response(self, reason: str = ...) -> Unreachable: ...


class Provider(Protocol):
    """An adapter to one PMS. It is stateless: everything it needs is in the account."""

    key: str  # "HOSTAWAY", as in the Image CDN contract
    name: str  # "Hostaway"
    base_url: str  # of its API, unless the account has its own
    fields: tuple[Field, ...]
    limits: tuple[Limit, ...]
    uploads_per_sync: int = 20_000  # new pictures; the rest waits for later syncs

    def sign_in(self, account: Account) -> Token | None:
        """Request a token, in one call; return None if the credentials themselves are sent with each call."""
        ...

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        """Yield pages of listings, from the cursor of an earlier page or else from the first page.

        Request a unique order if the PMS has one; otherwise pages overlap, and the list is read several times.

        Raises remote.Unreachable (try again) and remote.RequestRefused (final; `credentials` if they or the token are
        invalid, `cursor` if the PMS no longer accepts it and the sync must start over).
        """
        ...
