"""One question and its answer over one connection to a known address, within a deadline.

urllib3 (the engine of requests) speaks HTTP and TLS; only the dialling and the reading are ours. Without
requests' Session: that takes in proxies, .netrc and cookies, and reads and unpacks the whole body of a
redirect even when told not to follow it.
"""

import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from portal.remote.addresses import IpAddress, resolve
from portal.remote.problems import Refused, Unreachable
from portal.remote.urls import Url

MAX_HEAD_BYTES = 256 * 1024  # status line and headers; real ones have less than 20 kB
MAX_TRIED = 4  # addresses of one host
READ_BYTES = 64 * 1024
WRITE_BYTES = 16 * 1024

logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # its warnings repeat what a server sent


class Deadline:
    """The moment at which all has to be over."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left_s(self) -> float:
        """Return the seconds left, which are more than none. Raises Unreachable (`timeout`)."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise Unreachable("It took too long to answer.", code="timeout")
        return left


@cache
def trusted() -> ssl.SSLContext:
    """The authorities that we believe: the system's (or SSL_CERT_FILE's) and those that browsers have."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class Reply:
    """Status and headers of an answer; the body is still to come."""

    def __init__(self, response: urllib3.BaseHTTPResponse, meter: "_Meter") -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._meter = meter

    @property
    def is_encoded(self) -> bool:
        """Whether the body would have to be unpacked: we asked for it as it is."""
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        transfer = self.headers.get("Transfer-Encoding", "chunked").strip().lower()
        return coding not in ("identity", "") or transfer != "chunked"

    def body(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body in pieces, at most `max_bytes` and one more. Raises Unreachable (`truncated`)."""
        self._meter.left_bytes = max_bytes + max_bytes // 4 + MAX_HEAD_BYTES  # chunks have their own frames
        left = max_bytes + 1
        with _in_our_words("truncated"):
            while left and (piece := self._response.read(min(left, READ_BYTES), decode_content=False)):
                left -= len(piece)
                yield piece


@contextmanager
def ask(method: str, url: Url, headers: Mapping[str, str], body: bytes | None, deadline: Deadline) -> Iterator[Reply]:
    """Send a request and give its answer, as soon as its headers are there. Raises Refused, Unreachable."""
    addresses = resolve(url.host, url.port, timeout_s=deadline.left_s())
    connection = _connection(url, addresses, deadline)
    with closing(connection):
        with _in_our_words("unreachable"):
            connection.request(
                method,
                url.target,
                body=body,
                headers={
                    "User-Agent": "Frontage",
                    "Accept": "*/*",
                    **headers,
                    "Host": url.authority,
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                },
                preload_content=False,
                decode_content=False,
            )
            response = connection.getresponse()
        with closing(response):  # which the connection was handed over to
            yield Reply(response, connection.meter)


class _Meter(io.RawIOBase):
    """What comes in, read under the deadline and up to a number of bytes, whatever it claims to be."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self.left_bytes = MAX_HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._deadline.left_s())  # anew each time: a drip never times out by itself
        count = self._raw.readinto(buffer)
        self.left_bytes -= count or 0
        if self.left_bytes < 0:
            raise Refused("The answer is too large.", code="too_large")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Pinned(urllib3.connection.HTTPConnection):
    """A connection to the addresses that were looked at, whatever the name says by now."""

    addresses: list[IpAddress]
    deadline: Deadline
    meter: _Meter

    def _new_conn(self) -> socket.socket:
        candidates = self.addresses[:MAX_TRIED]
        for left, address in zip(range(len(candidates), 0, -1), candidates, strict=True):
            try:
                sock = socket.create_connection((str(address), self.port), self.deadline.left_s() / left)
            except OSError:
                if left == 1:
                    raise
            else:
                sock.settimeout(self.deadline.left_s())  # of the TLS handshake
                return sock
        raise AssertionError("resolve() gives one address at least")

    def send(self, data: bytes) -> None:  # type: ignore[override]
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), WRITE_BYTES):
            self.sock.settimeout(self.deadline.left_s())
            super().send(data[start : start + WRITE_BYTES])

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, debuglevel, method, url)
        response.fp.close()
        self.meter = _Meter(sock, self.deadline)
        response.fp = io.BufferedReader(self.meter)
        return response


class _PinnedTls(_Pinned, urllib3.connection.HTTPSConnection):
    """The same under TLS: SNI and certificate are the name's, not the address's."""


def _connection(url: Url, addresses: list[IpAddress], deadline: Deadline) -> _Pinned:
    connection = (
        _PinnedTls(url.host, url.port, ssl_context=trusted()) if url.scheme == "https" else _Pinned(url.host, url.port)
    )
    connection.addresses, connection.deadline = addresses, deadline
    connection.timeout = deadline.left_s()
    return connection


@contextmanager
def _in_our_words(code: str) -> Iterator[None]:
    """Say what failed in one coarse word. What the libraries raised names addresses: it goes no further."""
    try:
        yield
    except (TimeoutError, urllib3.exceptions.TimeoutError):
        raise Unreachable("It took too long to answer.", code="timeout") from None
    except (ssl.SSLError, urllib3.exceptions.SSLError):
        if code == "truncated":
            raise Unreachable("The answer broke off.", code=code) from None
        raise Refused("Its certificate or encryption can't be trusted.", code="tls") from None
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError):
        message = "The answer broke off." if code == "truncated" else "It can't be reached, or isn't a web server."
        raise Unreachable(message, code=code) from None
