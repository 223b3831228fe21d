"""The server of all fake PMSs: counts requests, fails on demand, applies rate limits and serves pictures."""

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

DRAWN_AT = 1_767_225_600  # 2026-01-01; each version of a picture is a minute newer
MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True)
class PmsRequest:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: Message
    client: str  # its IP address


@dataclass(frozen=True)
class PmsReply:
    """A response."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200, **headers: str) -> PmsReply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return PmsReply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


class Window:
    """A rate limit of `calls` in any `seconds`, per key."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls, self.seconds = calls, seconds
        self._passed: dict[str, deque[float]] = {}

    def wait_s(self, key: str) -> float:
        """Count a call and return 0, or return the seconds until one would be allowed."""
        now, passed = time.monotonic(), self._passed.setdefault(key, deque())
        while passed and passed[0] <= now - self.seconds:
            passed.popleft()
        if len(passed) >= self.calls:
            return passed[0] + self.seconds - now
        passed.append(now)
        return 0.0


class FakePms:
    """Serves `catalogue` through a PMS's API until its `with` block ends. Hold `lock` to change the catalogue.

    `asked` counts the requests by path and status. `is_limited` turns on the API's rate limits; pictures have none.
    `twist` may change each listing before it is returned, to send odd data. `arrange` sorts the listings at each
    request, before the page is cut: a PMS without a unique order may choose any.
    """

    def __init__(self, *, listings: int = 3, pictures: int = 4, port: int = 0) -> None:
        self.lock = threading.RLock()
        self.catalogue = Catalogue()
        for _ in range(listings):
            self.catalogue.add(pictures)
        self.asked: Counter[tuple[str, int]] = Counter()
        self.called_at: list[float] = []  # monotonic times of API calls, refused ones included
        self.is_limited = True
        self.twist: Callable[[dict[str, Any]], Any] = lambda listing: listing
        self.arrange: Callable[[list[FakeListing]], list[FakeListing]] = lambda listings: listings
        self._failures: list[tuple[str, PmsReply]] = []
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail_next(self, times: int, said: PmsReply | int, below: str = "/") -> None:
        """Answer the next requests below a path with this response or status."""
        with self.lock:
            self._failures += [(below, said if isinstance(said, PmsReply) else PmsReply(said))] * times

    def count(self, below: str = "/", status: int | None = None) -> int:
        """Return the number of requests below a path, optionally with a status."""
        with self.lock:
            return sum(
                times
                for (path, answered), times in self.asked.items()
                if path.startswith(below) and status in (None, answered)
            )

    def arranged(self) -> list[FakeListing]:
        """Return all listings, in the order of this request."""
        return self.arrange(list(self.catalogue.listings.values()))

    def url_of(self, picture: FakePicture) -> str:
        return f"{self.url}/pictures/{picture.name}"

    def answer(self, asked: PmsRequest) -> PmsReply:
        """Answer and count a request."""
        with self.lock:
            response = self._failure(asked.path) or self._answer(asked)
            self.asked[asked.path, response.status] += 1
        return response

    def say(self, asked: PmsRequest) -> PmsReply:
        """Answer an API call. Called under the lock."""
        raise NotImplementedError

    def limited(self, asked: PmsRequest) -> PmsReply | None:
        """Return a refusal if there were too many calls. Called under the lock."""
        return None

    def _failure(self, path: str) -> PmsReply | None:
        for place, (below, said) in enumerate(self._failures):
            if path.startswith(below):
                del self._failures[place]
                return said
        return None

    def _answer(self, asked: PmsRequest) -> PmsReply:
        if asked.path.startswith("/pictures/"):
            picture = self.catalogue.served.get(asked.path.removeprefix("/pictures/"))
            return _served(picture, asked.headers) if picture else PmsReply(404)
        self.called_at.append(time.monotonic())
        return (self.is_limited and self.limited(asked)) or self.say(asked)


def _served(picture: FakePicture, headers: Message) -> PmsReply:
    tag, drawn_at = f'"{picture.id}-{picture.version}"', DRAWN_AT + 60 * picture.version
    validators = {"ETag": tag, "Last-Modified": formatdate(drawn_at, usegmt=True)}
    if (known := headers.get("If-None-Match")) is not None:
        is_known = tag in known
    else:
        is_known = _moment(headers.get("If-Modified-Since")) >= drawn_at
    if is_known:
        return PmsReply(304, b"", validators)
    return PmsReply(200, picture.bytes(), {"Content-Type": "image/jpeg", **validators})


def _moment(text: str | None) -> float:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except ValueError:
        return 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


def _handler(pms: FakePms) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_FORM_BYTES))
            url = urlsplit(self.path)
            form = dict(parse_qsl(body.decode(errors="replace")))
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            asked = PmsRequest(self.command, unquote(url.path), query, form, self.headers, self.client_address[0])
            response = pms.answer(asked)
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if response.status != 304:
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        do_GET = do_HEAD = do_POST = reply

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
