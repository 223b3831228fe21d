"""One HTTP request over one connection to a checked address, within a deadline.

urllib3, on which requests builds, does HTTP and TLS; only connecting and reading are ours. requests' Session is not
used: it applies proxies, .netrc and cookies, and reads and decompresses the whole body of a redirect even when told
not to follow it.
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
from portal.remote.problems import RequestRefused, Unreachable
from portal.remote.urls import Url

MAX_HEADER_BYTES = 256 * 1024  # status line and headers; real ones take less than 20 kB
MAX_ADDRESSES = 4  # tried per host
READ_BYTES = 64 * 1024
WRITE_BYTES = 16 * 1024

logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # its warnings quote what a server sent


class Deadline:
    """The time at which a request must have ended."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left_s(self) -> float:
        """Return the seconds left, always more than 0. Raises Unreachable (`timeout`)."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise Unreachable("The server took too long to answer.", code="timeout")
        return left


@cache
def tls_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificate authorities (or SSL_CERT_FILE's) and Mozilla's."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class StreamedResponse:
    """Status and headers of a response; the body is read later."""

    def __init__(self, response: urllib3.BaseHTTPResponse, reader: "_LimitedReader") -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._reader = reader

    @property
    def is_encoded(self) -> bool:
        """Whether the body is compressed, although the request asked for `identity`."""
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        transfer = self.headers.get("Transfer-Encoding", "chunked").strip().lower()
        return coding not in ("identity", "") or transfer != "chunked"

    def body(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the body in pieces, up to `max_bytes` + 1 bytes. Raises Unreachable (`truncated`)."""
        self._reader.left_bytes = max_bytes + max_bytes // 4 + MAX_HEADER_BYTES  # plus the framing of chunks
        left = max_bytes + 1
        with _safe_errors("truncated"):
            while left and (piece := self._response.read(min(left, READ_BYTES), decode_content=False)):
                left -= len(piece)
                yield piece


@contextmanager
def stream(
    method: str, url: Url, headers: Mapping[str, str], body: bytes | None, deadline: Deadline
) -> Iterator[StreamedResponse]:
    """Send a request and yield the response once its headers have arrived. Raises RequestRefused, Unreachable."""
    addresses = resolve(url.host, url.port, timeout_s=deadline.left_s())
    connection = _connection(url, addresses, deadline)
    with closing(connection):
        with _safe_errors("unreachable"):
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
        with closing(response):  # it owns the connection's socket
            yield StreamedResponse(response, connection.reader)


class _LimitedReader(io.RawIOBase):
    """Reads from a socket within a deadline and a byte limit, whatever lengths the server declares."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self.left_bytes = MAX_HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._deadline.left_s())  # at each read, against servers that drip bytes
        count = self._raw.readinto(buffer)
        self.left_bytes -= count or 0
        if self.left_bytes < 0:
            raise RequestRefused("The response is too large.", code="too_large")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PinnedConnection(urllib3.connection.HTTPConnection):
    """A connection to the addresses that were checked, even if the name now resolves to others."""

    addresses: list[IpAddress]
    deadline: Deadline
    reader: _LimitedReader

    def _new_conn(self) -> socket.socket:
        candidates = self.addresses[:MAX_ADDRESSES]
        for left, address in zip(range(len(candidates), 0, -1), candidates, strict=True):
            try:
                sock = socket.create_connection((str(address), self.port), self.deadline.left_s() / left)
            except OSError:
                if left == 1:
                    raise
            else:
                sock.settimeout(self.deadline.left_s())  # for the TLS handshake
                return sock
        raise AssertionError("resolve() returns at least one address")

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
        self.reader = _LimitedReader(sock, self.deadline)
        response.fp = io.BufferedReader(self.reader)
        return response


class _PinnedTlsConnection(_PinnedConnection, urllib3.connection.HTTPSConnection):
    """A pinned connection with TLS: SNI and the certificate check use the name, not the address."""


def _connection(url: Url, addresses: list[IpAddress], deadline: Deadline) -> _PinnedConnection:
    if url.scheme == "https":
        connection: _PinnedConnection = _PinnedTlsConnection(url.host, url.port, ssl_context=tls_context())
    else:
        connection = _PinnedConnection(url.host, url.port)
    connection.addresses, connection.deadline = addresses, deadline
    connection.timeout = deadline.left_s()
    return connection


@contextmanager
def _safe_errors(code: str) -> Iterator[None]:
    """Translate errors into ones that reveal nothing. The libraries' errors contain addresses, so none is chained."""
    try:
        yield
    except (TimeoutError, urllib3.exceptions.TimeoutError):
        raise Unreachable("The server took too long to answer.", code="timeout") from None
    except (ssl.SSLError, urllib3.exceptions.SSLError):
        if code == "truncated":
            raise Unreachable("The response was truncated.", code=code) from None
        raise RequestRefused("The server's certificate or encryption can't be trusted.", code="tls") from None
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError):
        if code == "truncated":
            raise Unreachable("The response was truncated.", code=code) from None
        raise Unreachable("The server can't be reached, or isn't a web server.", code=code) from None
