"""All outgoing HTTP to user-supplied URLs: GET and POST, to public addresses only, with limits and deadlines.

URLs of imports, PMSs and webhooks may point into our own network or to servers that stall (SSRF, slowloris). Each URL
is therefore parsed strictly (`urls`), resolved once with every address checked (`addresses`), and the connection goes
to exactly that address (`connection`). Redirects are treated the same way. See tests/remote for the cases.
"""

import io
import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NamedTuple, NoReturn
from urllib.parse import urljoin

from portal.remote.addresses import NOT_PUBLIC, may_reach
from portal.remote.connection import Deadline, StreamedResponse, stream
from portal.remote.problems import RequestRefused, Unreachable
from portal.remote.urls import Url, check_url, is_plain

__all__ = [
    "GetResponse",
    "PostResponse",
    "RequestRefused",
    "Unreachable",
    "Url",
    "check_target",
    "check_url",
    "fetch",
    "post",
]

MAX_REDIRECTS = 3
FETCH_DEADLINE_S = 20
POST_DEADLINE_S = 15  # a hanging webhook receiver must not block a worker for longer
MAX_POST_RESPONSE_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 24 * 60 * 60

_LONGEST_DELTA_S = 1_000_000_000  # 31 years; as a timestamp, 2001
_REDIRECTS = {301, 302, 303, 307, 308}
_SUCCESS = {200, 203}
_TRANSIENT = {408, 425, 429}  # and all 5xx


@dataclass(frozen=True)
class GetResponse:
    """A response to a GET: `status` is 200 or 203, or 304 without data if `headers` had a condition."""

    status: int
    data: bytes
    content_type: str | None  # as the server claims, without parameters: not to be trusted
    etag: str | None
    last_modified: str | None
    url: str  # after redirects


@dataclass(frozen=True)
class PostResponse:
    """A response to a POST, of any status, redirects included. `body` is cut, for a log."""

    status: int
    body: bytes
    retry_after_s: int | None


class _SizeLimit(NamedTuple):
    """How much of a response to read, and the callback that must admit a response larger than usual."""

    max_bytes: int
    usual_bytes: int | None
    admit: Callable[[], None]


def check_target(text: str) -> Url:
    """Check a URL that is stored for later, and return it. An IP address in it must be allowed.

    Host names are checked again at each connection, as their addresses may change. Raises RequestRefused.
    """
    url = check_url(text)
    with suppress(ValueError):
        if not may_reach(ipaddress.ip_address(url.host), url.port):
            raise RequestRefused(NOT_PUBLIC, code="blocked_address")
    return url


def fetch(
    url: str,
    *,
    max_bytes: int,
    deadline_s: float = FETCH_DEADLINE_S,
    redirects: int = MAX_REDIRECTS,
    headers: Mapping[str, str] | None = None,
    usual_bytes: int | None = None,
    admit: Callable[[], None] = lambda: None,
) -> GetResponse:
    """GET a URL into memory, at most `max_bytes` (no caller allows more than 50 MB).

    `admit` is called once, before more than `usual_bytes` are read; it may wait for room, or raise.

    `headers` (If-None-Match, a PMS's Authorization) are sent to the origin of `url` only, not to where it redirects.
    The deadline covers name lookup, redirects, TLS and the whole body. Raises RequestRefused, Unreachable.
    """
    deadline = Deadline(deadline_s)
    current, headers = check_url(url), headers or {}
    for _ in range(redirects + 1):
        with stream("GET", current, headers, None, deadline) as response:
            if response.status not in _REDIRECTS:
                limit = _SizeLimit(max_bytes, usual_bytes, admit)
                return _read_response(response, current, limit, is_conditional=bool(headers))
            target = _redirect_target(current, response.headers.get("Location"))
        headers = headers if target.origin == current.origin else {}
        current = target
    raise RequestRefused("Too many redirects.", code="redirect")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    deadline_s: float = POST_DEADLINE_S,
    max_response_bytes: int = MAX_POST_RESPONSE_BYTES,
) -> PostResponse:
    """POST a body and return the response; redirects are not followed. Raises RequestRefused, Unreachable.

    The status alone matters: a response body that is long, compressed or truncated is cut, which is no error.
    """
    with stream("POST", check_url(url), headers, body, Deadline(deadline_s)) as response:
        received = bytearray()
        with suppress(RequestRefused, Unreachable):
            for piece in () if response.is_encoded else response.body(max_response_bytes):
                received += piece
        return PostResponse(response.status, bytes(received[:max_response_bytes]), _retry_after_s(response))


def _redirect_target(current: Url, location: str | None) -> Url:
    """Return the target of a redirect. Raises RequestRefused (`redirect`) for anything that is wrong with it."""
    wrong = RequestRefused("The redirect leads to an address that isn't allowed.", code="redirect")
    try:
        text = (location or "").encode("latin-1").decode()  # http.client reads headers as Latin-1
        if not text or not is_plain(text):
            raise wrong
        target = check_url(urljoin(str(current), text))
    except (RequestRefused, ValueError):
        raise wrong from None
    if (current.scheme, target.scheme) == ("https", "http"):
        raise wrong
    return target


def _read_response(response: StreamedResponse, url: Url, limit: _SizeLimit, *, is_conditional: bool) -> GetResponse:
    is_unchanged = is_conditional and response.status == 304
    if response.status not in _SUCCESS and not is_unchanged:
        _raise_for_status(response)
    if response.is_encoded:
        raise RequestRefused("The response is compressed, though not requested.", code="encoded")
    data, is_admitted = io.BytesIO(), False
    for piece in () if is_unchanged else response.body(limit.max_bytes):
        data.write(piece)
        if not is_admitted and limit.usual_bytes is not None and data.tell() > limit.usual_bytes:
            limit.admit()
            is_admitted = True
    if data.tell() > limit.max_bytes:
        raise RequestRefused("The response is too large.", code="too_large")
    return GetResponse(
        status=response.status,
        data=data.getvalue(),
        content_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower() or None,
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
        url=str(url),
    )


def _raise_for_status(response: StreamedResponse) -> NoReturn:
    message, details = f"The server answered {response.status}.", {"status": response.status}
    if response.status in _TRANSIENT or 500 <= response.status <= 599:
        raise Unreachable(message, code="http_error", details=details, retry_after_s=_retry_after_s(response))
    raise RequestRefused(message, code="http_error", details=details)


def _retry_after_s(response: StreamedResponse) -> int | None:
    """Return Retry-After, in seconds or as a date, capped at a day; for a 429 else X-RateLimit-Reset (Hospitable)."""
    text = response.headers.get("Retry-After", "").strip()
    if not text and response.status == 429:
        return _reset_in_s(response.headers.get("X-RateLimit-Reset", "").strip())
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), MAX_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(int(seconds), 0), MAX_RETRY_AFTER_S)


def _reset_in_s(text: str) -> int | None:
    """Read seconds, or a timestamp in seconds since 1970: the header may have either."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    seconds = value - math.floor(time.time()) if value > _LONGEST_DELTA_S else value
    return min(max(seconds, 0), MAX_RETRY_AFTER_S)
