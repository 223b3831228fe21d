"""The ASGI application: reads requests, and calls the WSGI app in threads.

Deliveries of photos have threads of their own, since they wait for the bucket where the cache has nothing; so have the
readiness checks. `/healthz` needs no thread.
"""

import asyncio

from flask import Flask

from portal.asgi.bodies import Bodies, Disconnected, Quota, Receive, Stalled
from portal.asgi.bridge import Call, Scope, Send, environ_of
from portal.asgi.bulkheads import Bulkhead, Overloaded
from portal.config import Settings
from portal.images.edit import MAX_FILE_COUNT
from portal.infra import multipart

DELIVERIES = ("/images/", "/cdn/")
READINESS, READINESS_THREADS = "/readyz", 2
MAX_WAITING = 256  # requests for each pool of threads; more are answered with 503
LEAST_QUOTA_BYTES = 1024**3


class Application:
    """An ASGI app around the WSGI app `flask`. Must be made within its context."""

    def __init__(self, flask: Flask, settings: Settings) -> None:
        self.flask = flask
        self._pages = Bulkhead("pages", settings.web_threads, MAX_WAITING)
        self._deliveries = Bulkhead("delivery", settings.delivery_threads, MAX_WAITING)
        self._readiness = Bulkhead("readiness", READINESS_THREADS, MAX_WAITING)
        largest = multipart.max_bytes(MAX_FILE_COUNT, settings.max_file_bytes)
        self._bodies = Bodies(
            multipart.spool_folder(),
            max_bytes=flask.config["MAX_CONTENT_LENGTH"],
            max_form_bytes=largest,
            quota=Quota(max(LEAST_QUOTA_BYTES, 2 * largest)),
        )
        alive = flask.test_client().get("/healthz")
        del alive.headers["X-Request-Id"]  # it would be the same for all
        self._alive = [(name.lower().encode(), value.encode()) for name, value in alive.headers], alive.data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD"):
            headers, data = self._alive
            await _answer(send, 200, headers, data if scope["method"] == "GET" else b"")
        elif scope["type"] == "http":
            await self._call(scope, receive, send)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        bulkhead = self._bulkhead(scope["path"])
        try:
            body = await self._bodies.read(scope, receive)
            try:
                await bulkhead.acquire()
            except BaseException:
                body.close()
                raise
        except Disconnected:
            return
        except Stalled:
            await _text(send, 408, "The request's body stopped arriving.\n", (b"connection", b"close"))
            return
        except Overloaded:
            await _text(send, 503, "The server is busy. Try again in a few seconds.\n", (b"retry-after", b"2"))
            return
        loop = asyncio.get_running_loop()
        call = Call(self.flask, environ_of(scope, body), loop, bulkhead.release)
        bulkhead.start(call.run)
        await call.send(send)

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
