"""The only door out: fetch and post, to public addresses only, pinned, capped and timed.

Whoever gives us an address (an import, a PMS, a webhook's owner) may mean our own network with it, or
to hold us up. So: parsed strictly (`urls`), looked up once and every address judged (`addresses`), that very
address dialled (`connection`), each redirect likewise. reliability.md, group A, has the cases.
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
from portal.remote.connection import Deadline, Reply, ask
from portal.remote.problems import Refused, Unreachable
from portal.remote.urls import Url, check_url, is_plain

__all__ = ["Answer", "Fetched", "Refused", "Unreachable", "Url", "check_target", "check_url", "fetch", "post"]

MAX_REDIRECTS = 3
FETCH_DEADLINE_S = 20
POST_DEADLINE_S = 15  # webhooks: reliability.md, F6
MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 24 * 60 * 60

_LONGEST_DELTA_S = 1_000_000_000  # 31 years; as a moment, 2001
_REDIRECTS = {301, 302, 303, 307, 308}
_GOOD = {200, 203}
_PASSING = {408, 425, 429}  # and all of 5xx


@dataclass(frozen=True)
class Fetched:
    """What an address had. `status` is 200 or 203; or 304, without data, to a condition in `headers`."""

    status: int
    data: bytes
    content_type: str | None  # as the server says, without parameters: only good for refusing
    etag: str | None
    last_modified: str | None
    url: str  # where it was in the end


@dataclass(frozen=True)
class Answer:
    """What a receiver said to a post: any status, also a redirect. `body` is its beginning, for a log."""

    status: int
    body: bytes
    retry_after_s: int | None


class _Most(NamedTuple):
    """How much of an answer is read, and who is asked before more than the usual is."""

    max_bytes: int
    usual_bytes: int | None
    admit: Callable[[], None]


def check_target(text: str) -> Url:
    """Check a URL that is kept for later (F1): a literal address must be one that we go to.

    Names are judged each time they are dialled: what they mean today says nothing of tomorrow.
    """
    url = check_url(text)
    with suppress(ValueError):
        if not may_reach(ipaddress.ip_address(url.host), url.port):
            raise Refused(NOT_PUBLIC, code="blocked_address")
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
) -> Fetched:
    """GET what is there, in memory: at most `max_bytes` (50 MB is the most anyone asks for).

    `admit` is called, once, before more than `usual_bytes` are read: it may wait for room, or raise.

    `headers` (If-None-Match, a PMS's Authorization) go to the origin that was named and to no other.
    The deadline is for everything: names, redirects, encryption, the last byte. Raises Refused, Unreachable.
    """
    deadline = Deadline(deadline_s)
    here, headers = check_url(url), headers or {}
    for _ in range(redirects + 1):
        with ask("GET", here, headers, None, deadline) as reply:
            if reply.status not in _REDIRECTS:
                return _kept(reply, here, _Most(max_bytes, usual_bytes, admit), is_conditional=bool(headers))
            there = _next(here, reply.headers.get("Location"))
        headers = headers if there.origin == here.origin else {}
        here = there
    raise Refused("It redirects too often.", code="redirect")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    deadline_s: float = POST_DEADLINE_S,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """POST a body and return what was said to it; no redirect is followed. Raises Refused, Unreachable.

    The status counts as soon as it is there: a body that is long, packed or broken off is cut, not an error.
    """
    with ask("POST", check_url(url), headers, body, Deadline(deadline_s)) as reply:
        said = bytearray()
        with suppress(Refused, Unreachable):
            for piece in () if reply.is_encoded else reply.body(max_answer_bytes):
                said += piece
        return Answer(reply.status, bytes(said[:max_answer_bytes]), _retry_after_s(reply))


def _next(here: Url, location: str | None) -> Url:
    """Where a redirect leads. What is wrong with it is the redirect's fault, whatever it is."""
    wrong = Refused("It redirects to where we don't follow.", code="redirect")
    try:
        text = (location or "").encode("latin-1").decode()  # http.client reads headers as Latin-1
        if not text or not is_plain(text):
            raise wrong
        there = check_url(urljoin(str(here), text))
    except (Refused, ValueError):
        raise wrong from None
    if (here.scheme, there.scheme) == ("https", "http"):
        raise wrong
    return there


def _kept(reply: Reply, url: Url, most: "_Most", *, is_conditional: bool) -> Fetched:
    is_unchanged = is_conditional and reply.status == 304
    if reply.status not in _GOOD and not is_unchanged:
        _raise_for_status(reply)
    if reply.is_encoded:
        raise Refused("The answer is packed, which we didn't ask for.", code="encoded")
    data, is_admitted = io.BytesIO(), False
    for piece in () if is_unchanged else reply.body(most.max_bytes):
        data.write(piece)
        if not is_admitted and most.usual_bytes is not None and data.tell() > most.usual_bytes:
            most.admit()
            is_admitted = True
    if data.tell() > most.max_bytes:
        raise Refused("The answer is too large.", code="too_large")
    return Fetched(
        status=reply.status,
        data=data.getvalue(),
        content_type=reply.headers.get("Content-Type", "").partition(";")[0].strip().lower() or None,
        etag=reply.headers.get("ETag"),
        last_modified=reply.headers.get("Last-Modified"),
        url=str(url),
    )


def _raise_for_status(reply: Reply) -> NoReturn:
    message, details = f"The server answered {reply.status}.", {"status": reply.status}
    if reply.status in _PASSING or 500 <= reply.status <= 599:
        raise Unreachable(message, code="http_error", details=details, retry_after_s=_retry_after_s(reply))
    raise Refused(message, code="http_error", details=details)


def _retry_after_s(reply: Reply) -> int | None:
    """Retry-After, in seconds or as a date, within a day; else, of a 429, X-RateLimit-Reset (Hospitable)."""
    text = reply.headers.get("Retry-After", "").strip()
    if not text and reply.status == 429:
        return _reset_in_s(reply.headers.get("X-RateLimit-Reset", "").strip())
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), MAX_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(int(seconds), 0), MAX_RETRY_AFTER_S)


def _reset_in_s(text: str) -> int | None:
    """Seconds, or a moment in seconds since 1970: no header says which."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    said = int(text)
    seconds = said - math.floor(time.time()) if said > _LONGEST_DELTA_S else said
    return min(max(seconds, 0), MAX_RETRY_AFTER_S)
