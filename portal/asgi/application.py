"""The ASGI application: reads requests, and calls the WSGI app in threads.

Photos from the cache, photos from the bucket, pages and readiness checks have threads of their own, since each may wait
for something else. `/healthz` needs no thread.
"""

import asyncio
from collections.abc import Callable

from flask import Flask

from portal.asgi.bodies import Bodies, Disconnected, Receive, Stalled
from portal.asgi.bridge import BLOCK_BYTES, Call, Environ, Scope, Send, environ_of
from portal.asgi.budget import ByteBudget, Overloaded
from portal.asgi.bulkheads import Bulkhead
from portal.config import Settings
from portal.delivery.shortcut import Answer
from portal.images.edit import MAX_FILE_COUNT
from portal.infra import disk_space, multipart

DELIVERIES = ("/images/", "/cdn/")
CACHE_THREADS = 4  # each photo takes them for a millisecond
READINESS, READINESS_THREADS = "/readyz", 2
MAX_WAITING = 256  # requests for each pool of threads; more are answered with 503
MAX_UNSENT_BYTES = 64 * 1024**2  # of all complete responses that wait for their clients
LEAST_STORED_BYTES = 1024**3  # for all bodies on disk


class Application:
    """An ASGI app around the WSGI app `flask`. Must be made within its context."""

    def __init__(
        self, flask: Flask, settings: Settings, find_cached: Callable[[Environ], Answer | None] = lambda _: None
    ) -> None:
        self.flask, self._find_cached = flask, find_cached
        self._pages = Bulkhead("pages", settings.web_threads, MAX_WAITING)
        self._cache = Bulkhead("cache", CACHE_THREADS, MAX_WAITING)
        self._deliveries = Bulkhead("delivery", settings.delivery_threads, MAX_WAITING)
        self._readiness = Bulkhead("readiness", READINESS_THREADS, MAX_WAITING)
        self._unsent = ByteBudget(MAX_UNSENT_BYTES)
        largest = multipart.max_bytes(MAX_FILE_COUNT, settings.max_file_bytes)
        self._bodies = Bodies(
            multipart.spool_folder(),
            max_bytes=flask.config["MAX_CONTENT_LENGTH"],
            max_form_bytes=largest,
            budget=ByteBudget(max(LEAST_STORED_BYTES, 2 * largest)),
            demand_room=lambda: disk_space.demand_room(settings),
        )
        alive = flask.test_client().get("/healthz")
        del alive.headers["X-Request-Id"]  # it would be the same for all
        self._alive = [(name.lower().encode(), value.encode()) for name, value in alive.headers], alive.data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            environ = environ_of(scope)
        except ValueError:
            await _text(send, 400, "The request's target could not be read.\n", (b"connection", b"close"))
            return
        if environ["PATH_INFO"] == "/healthz" and scope["method"] in ("GET", "HEAD"):
            headers, data = self._alive
            await _answer(send, 200, headers, data if scope["method"] == "GET" else b"")
            return
        try:
            if call := await self._begun(environ, scope, receive, send):
                await call.send(send)
        except Disconnected:
            return
        except Stalled:
            await _text(send, 408, "The request's body stopped arriving.\n", (b"connection", b"close"))
        except Overloaded:
            await _text(send, 503, "The server is busy. Try again in a few seconds.\n", (b"retry-after", b"2"))

    async def _begun(self, environ: Environ, scope: Scope, receive: Receive, send: Send) -> Call | None:
        """Begin a call of the WSGI app; None if the cache had the answer."""
        bulkhead = self._bulkhead(environ["PATH_INFO"])
        if bulkhead is self._deliveries and await self._sent_from_cache(environ, send):
            return None
        body = environ["wsgi.input"] = await self._bodies.read(scope, environ["PATH_INFO"], receive)
        call = Call(self.flask, environ, asyncio.get_running_loop(), self._unsent)
        try:
            await bulkhead.start(call.run)
        except BaseException:
            body.close()
            raise
        return call

    async def _sent_from_cache(self, environ: Environ, send: Send) -> bool:
        """Send what the cache has: where it has nothing, all threads for deliveries may be waiting for the bucket."""
        found = await self._cache.call(lambda: self._find_cached(environ))
        if found is None:
            return False
        headers = [(name.lower().encode(), value.encode()) for name, value in found.headers.items()]
        with self._unsent.taken(len(found.data) if len(found.data) > BLOCK_BYTES else 0):
            await _answer(send, int(found.status[:3]), headers, found.data)
        return True

    def _bulkhead(self, path: str) -> Bulkhead:
        if path.startswith(DELIVERIES):
            return self._deliveries
        return self._readiness if path == READINESS else self._pages


async def _text(send: Send, status: int, text: str, header: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), header]
    await _answer(send, status, [*headers, (b"content-length", str(len(text)).encode())], text.encode())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], data: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})
