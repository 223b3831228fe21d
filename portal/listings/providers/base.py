"""What every adapter to a PMS gives: its listings in one shape, page by page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from portal.remote import Unreachable

Params = Mapping[str, Any] | None
Headers = Mapping[str, str] | None


@dataclass(frozen=True)
class Picture:
    """One picture of a listing, as the PMS says now; its place is the one in the list."""

    url: str
    description: str = ""
    external_id: str = ""
    room: str = ""  # the PMS's id of the room that it shows, where it says so


@dataclass(frozen=True)
class FoundListing:
    """A listing as the PMS says it is now, in our shape."""

    external_id: str
    name: str
    thumbnail_url: str | None
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Page:
    """Some listings, and the cursor of the next page: None on the last one. `total` where the PMS says it."""

    listings: tuple[FoundListing, ...]
    next_cursor: str | None = None
    total: int | None = None
    notes: tuple[str, ...] = field(default=())  # what is odd, for people: an order that contradicts itself
    is_cut: bool = False  # the next page is in our hands too: the PMS gave more than is stored in one change


class Token(NamedTuple):
    """What a PMS lets us in with for a while. `good_from` and `good_until`: seconds since 1970."""

    secret: str
    good_from: float
    good_until: float

    def __repr__(self) -> str:
        return f"Token(…, {self.good_from:.0f} to {self.good_until:.0f})"  # never its secret


@dataclass(frozen=True)
class Field:
    """One credential, or setting, that an account of this provider has."""

    name: str  # camelCase, as the API spells it
    label: str
    is_secret: bool = False
    is_optional: bool = False
    hint: str = ""
    wrong: Callable[[str], str | None] | None = None  # says in a sentence what is wrong with a value


class Limit(NamedTuple):
    """At most `calls` in `seconds`. `per` is "account", or "host": then all accounts share it."""

    calls: int
    seconds: int
    per: str = "account"


class Account(Protocol):
    """One account's way to its PMS, as an adapter uses it: `account.HttpAccount` in production."""

    provider: "Provider"
    credentials: Mapping[str, str]
    token: Token | None

    def begin_page(self) -> None: ...
    def get(self, path: str, params: Params = None, headers: Headers = None) -> Any: ...
    def get_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any]: ...
    def find_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any] | None: ...
    def post_form(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]: ...
    def bearer(self) -> dict[str, str]: ...
    def bad_answer(self, why: str = ...) -> Unreachable: ...


class Provider(Protocol):
    """An adapter to one PMS. It has no state: what it needs it finds in the account."""

    key: str  # "HOSTAWAY": as seed A spells it
    name: str  # "Hostaway"
    base_url: str  # where its API is, unless the account says otherwise
    fields: tuple[Field, ...]
    limits: tuple[Limit, ...]
    uploads_per_sync: int = 20_000  # new pictures; the rest waits for the next ones (contract.md, A18)

    def sign_in(self, account: Account) -> Token | None:
        """Ask for a token, in one call; None where the credentials themselves go with each call."""
        ...

    def pages(self, account: Account, cursor: str | None) -> Iterator[Page]:
        """Yield the listings page by page, from a cursor that an earlier page gave, else from the first.

        Ask for a unique order if the PMS has one; otherwise pages overlap, and the list is read several times.

        Raises remote.Unreachable (try again) and remote.Refused (final; `credentials`: they are not good, or the
        token isn't; `cursor`: the PMS doesn't know it any more, so begin anew).
        """
        ...
