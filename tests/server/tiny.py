"""A WSGI app that does what a test asks for, alone or behind the front with short time-outs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from portal import config
from portal.asgi import Application, application, bodies, worker
from portal.delivery.shortcut import Answer

Environ = dict[str, Any]
Start = Callable[..., Any]

worker.HEADERS_S = worker.READ_S = bodies.STALL_S = 1.0
worker.MAX_CONNECTIONS = 300
application.MAX_WAITING = 20
application.MAX_UNSENT_BYTES = 128 * 1024**2
bodies.LEAST_BYTES_PER_S = 200_000
MAX_BODY_BYTES = 1024 * 1024

produced: dict[str, int] = {}
closed: list[str] = []
calls: list[str] = []
looked_up: list[str] = []  # in the cache


def asgi() -> Application:
    flask = Flask(__name__)
    flask.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    flask.wsgi_app = wsgi  # type: ignore[method-assign]
    with flask.app_context():
        settings = config.from_environment()
        config.use(settings)
        return Application(flask, settings, find_cached=find_cached)


def find_cached(environ: Environ) -> Answer | None:
    looked_up.append(environ["PATH_INFO"])
    return Answer("200 OK", {"Content-Length": "6"}, b"cached") if environ["PATH_INFO"] == "/images/cached" else None


def wsgi(environ: Environ, start: Start) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/calls":
        return answer(
            start, json.dumps({"calls": calls, "looked_up": looked_up, "produced": produced, "closed": closed}).encode()
        )
    calls.append(path)
    for prefix, view in VIEWS.items():
        if path.removeprefix("/images").startswith(prefix):
            return view(environ, start)
    return environment(environ, start)


def environment(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answer with the environ, and a digest of the body."""
    body = environ["wsgi.input"].read()
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    return answer(start, json.dumps(texts | {"body": sha256(body).hexdigest()}).encode())


def limited(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answer with the body's length, or 413, as a route with Werkzeug's limit does."""
    request = Request(environ)
    request.max_content_length = MAX_BODY_BYTES
    try:
        return answer(start, str(len(request.get_data())).encode())
    except HTTPException as error:
        return error.get_response()(environ, start)


def hold(environ: Environ, start: Start) -> Iterable[bytes]:
    """Hold the thread until the test makes the file that the query names."""
    while not Path(environ["QUERY_STRING"]).exists():
        time.sleep(0.01)
    return answer(start, b"held")


def large(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, bytes(int(environ["QUERY_STRING"])))


def stream(environ: Environ, start: Start) -> Iterable[bytes]:
    """Produce blocks of 64 KB without an end, and count them."""
    start("200 OK", [])
    return Endless(environ["QUERY_STRING"])


class Endless:
    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[bytes]:
        while True:
            produced[self.name] = produced.get(self.name, 0) + 1
            yield bytes(64 * 1024)

    def close(self) -> None:
        closed.append(self.name)


def broken(environ: Environ, start: Start) -> Iterable[bytes]:
    """Misbehave in the way that the query names."""
    match unquote(environ["QUERY_STRING"]):
        case "raises":
            raise RuntimeError("on purpose")
        case "raises later":
            start("200 OK", [])
            return (b"beginning" if number == 0 else 1 // 0 for number in range(2))  # type: ignore[return-value]
        case "starts twice":
            start("200 OK", [])
            start("201 Created", [])
        case "starts again":  # allowed, as long as nothing was sent
            start("200 OK", [])
            try:
                raise ValueError
            except ValueError as error:
                start("500 Replaced", [("Content-Length", "0")], (type(error), error, None))
            return []
        case "never starts":
            return [b"body"]
        case "writes":
            write = start("200 OK", [("Content-Length", "6")])
            write(b"wri")
            return [b"tes"]
        case "injects":
            start("200 OK", [("Content-Length", "0"), ("X-A", "a\r\nX-Injected: b")])
            return []
        case "shorter":
            return answer(start, b"four", length=10)
        case "longer":
            return answer(start, b"more than four", length=4)
    return answer(start, b"")


def answer(start: Start, data: bytes, *, length: int | None = None) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", str(len(data) if length is None else length))])
    return [data]


VIEWS = {
    "/limited": limited,
    "/api/properties/limited": limited,
    "/hold": hold,
    "/large": large,
    "/stream": stream,
    "/broken": broken,
}
