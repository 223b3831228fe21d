"""Raw HTTP over a socket: what clients of the tests send and read, byte by byte."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

WITHIN_S = 10.0


@dataclass
class Answer:
    """A response. Its status is 0 if the server closed without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire(socket.socket):
    """A connection to a server on this machine."""

    def __init__(self, port: int, within_s: float = WITHIN_S) -> None:
        super().__init__()
        self.settimeout(within_s)
        try:
            self.connect(("127.0.0.1", port))
        except OSError:
            self.close()
            raise

    def read(self, *, of: str = "GET") -> Answer:
        """Read one response. Raises TimeoutError."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._more()
            if not more:
                return Answer()
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = Answer(int(first.split()[1]), headers, body)
        if answer.status == 100:
            return answer
        if of != "HEAD":
            self._read_body(answer)
        return answer

    def is_closed(self) -> bool:
        """Wait for the end of the stream. Raises TimeoutError if the server keeps the connection open."""
        while self._more():
            pass
        return True

    def _read_body(self, answer: Answer) -> None:
        length = answer.headers.get("content-length")
        while length is None or len(answer.body) < int(length):
            more = self._more()
            if not more:
                return
            answer.body += more
            if length is None and answer.body.endswith(b"\r\n0\r\n\r\n"):
                return

    def _more(self) -> bytes:
        try:
            return self.recv(1 << 18)
        except ConnectionError:
            return b""


def ask(port: int, request: str | bytes, *, within_s: float = WITHIN_S) -> Answer:
    """Send a request on a connection of its own, and read the response."""
    data = request.encode("latin-1") if isinstance(request, str) else request
    with Wire(port, within_s) as wire:
        wire.sendall(data)
        return wire.read(of="HEAD" if data.startswith(b"HEAD") else "GET")


def get(port: int, path: str, *, within_s: float = WITHIN_S) -> Answer:
    return ask(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n", within_s=within_s)
