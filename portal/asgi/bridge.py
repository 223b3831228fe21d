"""One request through the WSGI app: called in a thread, its response sent by the event loop.

A response that is complete goes to the event loop in one piece, and the thread is free while a slow client reads it.
All of these together have a budget; beyond it, large ones are refused. Only a response that is still being produced,
such as an object streamed from the bucket, waits for its client: with MAX_UNSENT_BYTES unsent, its thread pauses.
"""

import sys
from asyncio import AbstractEventLoop, Queue
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from functools import lru_cache
from io import BytesIO
from threading import Condition
from typing import IO, Any
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.wsgi import FileWrapper

from portal.asgi.budget import ByteBudget

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Scope = Any
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

BLOCK_BYTES = 64 * 1024  # what is sent at once; gunicorn's worker waits for the client above as much
MAX_UNSENT_BYTES = 256 * 1024  # of a response that is still being produced
PRODUCE_S = 30.0  # for which a thread waits until its client has read a part of these
REPEATABLE = ("GET", "HEAD")  # what may be answered with 503 after it was done


class Abandoned(ConnectionError):
    """The client disconnected, or read too slowly, while its response was being produced."""


class Call:
    """A call of the WSGI app: `run` it in a thread, and `send` its response."""

    def __init__(self, app: Wsgi, environ: Environ, loop: AbstractEventLoop, budget: ByteBudget) -> None:
        self._app, self._environ, self._loop, self._budget = app, environ, loop, budget
        self._parts: Queue[tuple[bytes, bool, BaseException | None]] = Queue()
        self._start: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._is_started = False  # the status line has been handed over and can't change
        self._length: int | None = None  # the response's Content-Length
        self._blocks: list[bytes] = []
        self._gathered = self._total = 0  # bytes in _blocks, and produced altogether
        self._unsent, self._is_abandoned, self._changed = 0, False, Condition()

    def run(self) -> None:
        """Call the app and hand over what it answers, or the exception that it raises."""
        failed: BaseException | None = None
        try:
            with closing(self._environ["wsgi.input"]):
                self._produce()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed: this process stops
            self._loop.call_soon_threadsafe(self._parts.put_nowait, (b"".join(self._blocks), True, failed))

    async def send(self, send: Send) -> None:
        """Send the response. Raises Overloaded, and what the app raised. Once it ends, the app can produce no more."""
        is_started, is_last = False, False
        held = ExitStack()
        try:
            while not is_last:
                data, is_last, error = await self._parts.get()
                if error:
                    raise error
                if not is_started:
                    assert self._start
                    if is_last and len(data) > BLOCK_BYTES and self._environ["REQUEST_METHOD"] in REPEATABLE:
                        held.enter_context(self._budget.taken(len(data)))
                    await send({"type": "http.response.start", "status": self._start[0], "headers": self._start[1]})
                    is_started = True
                for position in range(0, len(data) or 1, BLOCK_BYTES):
                    block = data[position : position + BLOCK_BYTES]
                    more = not is_last or position + BLOCK_BYTES < len(data)
                    await send({"type": "http.response.body", "body": block, "more_body": more})
                self._sent(len(data))
        finally:
            held.close()
            with self._changed:
                self._is_abandoned = True
                self._changed.notify()

    def _produce(self) -> None:
        iterable = self._app(self._environ, self._start_response)
        try:
            for block in iterable:
                self._write(block)
        finally:
            if close := getattr(iterable, "close", None):
                close()
        if self._start is None:
            raise RuntimeError("The app did not call start_response.")

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info and self._is_started:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._start and not exc_info:
            raise RuntimeError("start_response was called twice.")
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._start = int(status.split(" ", 1)[0]), encoded
        lengths = [value for name, value in encoded if name == b"content-length"]
        self._length = int(lengths[0]) if lengths else None
        return self._write

    def _write(self, block: bytes) -> None:
        """Hand over a block at once if the response's length is unknown; otherwise gather BLOCK_BYTES, or all of it."""
        if self._start is None:
            raise RuntimeError("The app sent its body before it called start_response.")
        if not block:
            return
        self._blocks.append(block)
        self._gathered += len(block)
        self._total += len(block)
        if self._length is None or (self._gathered >= BLOCK_BYTES and self._total < self._length):
            self._hand_over()

    def _hand_over(self) -> None:
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: self._unsent < MAX_UNSENT_BYTES or self._is_abandoned, timeout=PRODUCE_S
            )
            if self._is_abandoned or not has_room:
                raise Abandoned
            self._unsent += self._gathered
        data, self._blocks, self._gathered, self._is_started = b"".join(self._blocks), [], 0, True
        self._loop.call_soon_threadsafe(self._parts.put_nowait, (data, False, None))

    def _sent(self, size_bytes: int) -> None:
        with self._changed:
            self._unsent -= size_bytes
            self._changed.notify()


def environ_of(scope: Scope) -> Environ:
    """Return the WSGI environ of an ASGI scope with an empty body, with the values that gunicorn's WSGI workers give.

    Raises ValueError if the target is no URL, or not below the prefix that a trusted proxy or gunicorn's setting names.
    """
    path = scope["raw_path"].decode("latin-1")
    if not path.startswith("/"):  # the absolute form, as for a proxy
        path = urlsplit(path).path
    # Gunicorn accepts this name, with an underscore, from trusted proxies only. Script-Name is a header like others.
    prefix = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"script_name"), None)
    prefix = scope["root_path"] if prefix is None else prefix
    if not path.startswith(prefix):
        raise ValueError("The path is not below SCRIPT_NAME.")
    server, client = scope["server"] or ("", ""), scope["client"] or ("", "")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": prefix,
        "PATH_INFO": unquote_to_bytes(path.removeprefix(prefix)).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": _file_wrapper,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key, text = _key(name), value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


@lru_cache(maxsize=256)
def _key(header: bytes) -> str:
    """Return the environ's key for a header. Those with an underscore were dropped by gunicorn's header policy."""
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def _file_wrapper(file: IO[bytes], _: int = 0) -> FileWrapper:
    return FileWrapper(file, BLOCK_BYTES)
