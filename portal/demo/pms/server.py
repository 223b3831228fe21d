"""The server that all fake PMSs have in common: it counts, fails on request, keeps to rate limits, serves pictures."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from portal.demo.pms.catalogue import Catalogue, FakeListing, FakePicture

DRAWN_AT = 1_767_225_600  # 2026-01-01; each version of a picture is a minute younger
MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Message
    client: str  # its IP address


@dataclass(frozen=True)
class Said:
    """What is answered to it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200, **headers: str) -> Said:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Said(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


class Window:
    """At most `calls` in any `seconds`, of each key."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls, self.seconds = calls, seconds
        self._passed: dict[str, deque[float]] = {}

    def wait_s(self, key: str) -> float:
        """Count a call and return 0; or return the seconds until one would pass."""
        now, passed = time.monotonic(), self._passed.setdefault(key, deque())
        while passed and passed[0] <= now - self.seconds:
            passed.popleft()
        if len(passed) >= self.calls:
            return passed[0] + self.seconds - now
        passed.append(now)
        return 0.0


class FakePms:
    """Serves `catalogue` in a PMS's own shapes, until its block ends. What stands in it is changed under `lock`.

    `asked` counts the requests by path and status. `is_limited`: whether the API keeps to its rate limits; the
    pictures have none. `twist` may change each listing, as it is about to be said: so it says odd things. `arrange`
    orders them before a page is cut, at each request: a PMS without a unique order may choose any.
    """

    def __init__(self, *, listings: int = 3, pictures: int = 4, port: int = 0) -> None:
        self.lock = threading.RLock()
        self.catalogue = Catalogue()
        for _ in range(listings):
            self.catalogue.add(pictures)
        self.asked: Counter[tuple[str, int]] = Counter()
        self.called_at: list[float] = []  # the API, by the monotonic clock, refused calls too
        self.is_limited = True
        self.twist: Callable[[dict[str, Any]], Any] = lambda listing: listing
        self.arrange: Callable[[list[FakeListing]], list[FakeListing]] = lambda listings: listings
        self._failures: list[tuple[str, Said]] = []
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail_next(self, times: int, said: Said | int, below: str = "/") -> None:
        """Answer this, a status or more, to the next requests whose path begins so."""
        with self.lock:
            self._failures += [(below, said if isinstance(said, Said) else Said(said))] * times

    def count(self, below: str = "/", status: int | None = None) -> int:
        """How many requests there were whose path begins so: `/pictures/`, or one of the API."""
        with self.lock:
            return sum(
                times for (path, said), times in self.asked.items() if path.startswith(below) and status in (None, said)
            )

    def arranged(self) -> list[FakeListing]:
        """All listings, in the order of this request."""
        return self.arrange(list(self.catalogue.listings.values()))

    def url_of(self, picture: FakePicture) -> str:
        return f"{self.url}/pictures/{picture.name}"

    def answer(self, asked: Asked) -> Said:
        """Answer a request, and count it."""
        with self.lock:
            said = self._failure(asked.path) or self._answer(asked)
            self.asked[asked.path, said.status] += 1
        return said

    def say(self, asked: Asked) -> Said:
        """Answer a call of the API; called under the lock."""
        raise NotImplementedError

    def limited(self, asked: Asked) -> Said | None:
        """Say no where there were too many calls; called under the lock."""
        return None

    def _failure(self, path: str) -> Said | None:
        for place, (below, said) in enumerate(self._failures):
            if path.startswith(below):
                del self._failures[place]
                return said
        return None

    def _answer(self, asked: Asked) -> Said:
        if asked.path.startswith("/pictures/"):
            picture = self.catalogue.served.get(asked.path.removeprefix("/pictures/"))
            return _served(picture, asked.headers) if picture else Said(404)
        self.called_at.append(time.monotonic())
        return (self.is_limited and self.limited(asked)) or self.say(asked)


def _served(picture: FakePicture, headers: Message) -> Said:
    tag, drawn_at = f'"{picture.id}-{picture.version}"', DRAWN_AT + 60 * picture.version
    validators = {"ETag": tag, "Last-Modified": formatdate(drawn_at, usegmt=True)}
    if (known := headers.get("If-None-Match")) is not None:
        is_known = tag in known
    else:
        is_known = _moment(headers.get("If-Modified-Since")) >= drawn_at
    if is_known:
        return Said(304, b"", validators)
    return Said(200, picture.bytes(), {"Content-Type": "image/jpeg", **validators})


def _moment(text: str | None) -> float:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except ValueError:
        return 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up is none of our business."""


def _handler(pms: FakePms) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_FORM_BYTES))
            url = urlsplit(self.path)
            form = dict(parse_qsl(body.decode(errors="replace")))
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            asked = Asked(self.command, unquote(url.path), query, form, self.headers, self.client_address[0])
            said = pms.answer(asked)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.status != 304:
                self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_HEAD = do_POST = reply

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
