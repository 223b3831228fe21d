"""Strict URL parsing: a URL that two parsers could read differently is refused."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from portal.config import settings
from portal.remote.addresses import NOT_PUBLIC, PORTS, IpAddress, is_public, may_reach
from portal.remote.problems import RequestRefused

MAX_LENGTH = 8_192  # signed links of storage services have up to 3,000 characters

# re.ASCII, because IGNORECASE alone lets the Kelvin sign match a k
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(.*))?", re.ASCII | re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_TARGET_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"  # stay unencoded in a path or query


@dataclass(frozen=True)
class Url:
    """A normalized http or https URL. `host` is in lower case, without brackets."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, percent-encoded

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def check_url(text: str) -> Url:
    """Parse a URL strictly, without resolving its host: whether that is public is checked when connecting.

    Raises RequestRefused with the code invalid_url, scheme, host or port.
    """
    if len(text) > MAX_LENGTH or not is_plain(text):
        raise RequestRefused(
            "The address is too long, or has spaces, control characters or backslashes.", code="invalid_url"
        )
    if text.partition(":")[0].lower() not in ("http", "https"):
        raise RequestRefused("The address must start with https:// or http://.", code="scheme")
    parts = _URL.fullmatch(text)
    if not parts or "@" in parts[2]:
        raise RequestRefused("Invalid address. It should look like https://example.com/photo.jpg.", code="invalid_url")
    scheme, authority, target = parts[1].lower(), parts[2], parts[3]
    pieces = _AUTHORITY.fullmatch(authority)
    if not pieces:
        raise RequestRefused("A host name may have only letters a-z, digits, dots and hyphens (or xn--…).", code="host")
    address, host = _host(pieces[1].lower())
    port = _port(pieces[2], scheme, address)
    target = target if target.startswith("/") else f"/{target}"
    return Url(scheme, host, port, quote(target, safe=_TARGET_CHARACTERS))


def is_plain(text: str) -> bool:
    """Return whether a text has only characters that all parsers treat alike."""
    return text.isprintable() and " " not in text and "\\" not in text


def _host(text: str) -> tuple[IpAddress | None, str]:
    """Parse a host. Raises RequestRefused for short or hexadecimal IPv4 forms (127.1, 0x7f.1, 2130706433) too."""
    wrong = RequestRefused("Invalid host name.", code="host")
    labels = text.split(".")
    try:
        if text.startswith("["):
            address: IpAddress = ipaddress.IPv6Address(text[1:-1])
            return address, str(address)
        if _NUMBER.fullmatch(labels[-1]):
            return ipaddress.IPv4Address(text), text
    except ValueError:
        raise wrong from None
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise wrong
    if labels[-1] == "localhost":
        raise wrong
    return None, text


def _port(text: str | None, scheme: str, address: IpAddress | None) -> int:
    """Parse a port. Other ports of a host name are checked after the lookup, if the operator allows any private net."""
    if text is None:
        return _default_port(scheme)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > 65_535:
        raise RequestRefused("Invalid port.", code="port")
    port = int(text)
    allowed = may_reach(address, port) if address else bool(settings().allowed_private_nets)
    if port not in PORTS and not allowed:
        if address and not is_public(address):  # another port would not help
            raise RequestRefused(NOT_PUBLIC, code="port")
        raise RequestRefused("Only ports 80 and 443 are allowed.", code="port")
    return port


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
