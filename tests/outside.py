"""The outside world, on loopback: an HTTP server whose answers a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.servers import Handler, serving


@dataclass
class Seen:
    """A request as the server received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """The response to it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0
    is_reset: bool = False  # no answer at all: the connection is closed


@dataclass
class Outside:
    """A host on the internet: its address, and the requests it got."""

    url: str
    seen: list[Seen]
    closed: threading.Event


@contextmanager
def outside(answer: Callable[[Seen], Reply], port: int = 0) -> Iterator[Outside]:
    """Serve `answer` until the block ends."""
    host = Outside("", [], threading.Event())
    guard = threading.Lock()

    class Host(Handler):
        def reply(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, self.body())
            with guard:
                host.seen.append(seen)
                reply = answer(seen)
            host.closed.wait(reply.after_s)
            if reply.is_reset:
                self.hang_up()
            self.say(reply.status, reply.headers, reply.body)

        do_GET = do_POST = reply

    with serving(Host, port) as host.url:
        try:
            yield host
        finally:
            host.closed.set()
