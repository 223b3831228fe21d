"""Servers that lie, stall, flood and hang up: each ends in one coarse code, soon, and in little memory."""

from __future__ import annotations

import gzip
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from portal.errors import Problem
from portal.remote import fetch, post
from tests.remote.conftest import Script, Serve

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(10_000_000))
DEADLINE_S = 0.2  # for those that never end
NEVER_S = 100  # for those whose code shows that it was not the deadline


def flood(start: bytes, piece: bytes) -> Script:
    """Send the same until the client stops reading."""

    def script(client: socket.socket, _: bytes) -> None:
        client.sendall(start)
        while True:
            client.sendall(piece * (65536 // len(piece) or 1))

    return script


def drip(start: bytes, piece: bytes = b"x") -> Script:
    """Send a byte now and then, so that no single wait is long."""

    def script(client: socket.socket, _: bytes) -> None:
        client.sendall(start)
        while True:
            time.sleep(0.05)
            client.sendall(piece)

    return script


def silence(client: socket.socket, _: bytes) -> None:
    while client.recv(65536):  # until the client hangs up
        pass


CASES: dict[str, tuple[Script | bytes, str]] = {
    # encoded, which we never ask for
    "gzip": (OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB, "encoded"),
    "gzip, endless": (flood(OK + b"Content-Encoding: gzip\r\n\r\n", BOMB), "encoded"),
    "deflate": (OK + b"Content-Encoding: deflate\r\n\r\nx", "encoded"),
    "br": (OK + b"content-encoding: BR\r\n\r\nx", "encoded"),
    "zstd": (OK + b"Content-Encoding: zstd\r\n\r\nx", "encoded"),
    "identity, gzip": (OK + b"Content-Encoding: identity, gzip\r\n\r\nx", "encoded"),
    "transfer gzip": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nx", "encoded"),
    # too large
    "10 GB announced": (flood(OK + b"Content-Length: 10000000000\r\n\r\n", b"x"), "too_large"),
    "endless chunks": (flood(CHUNKED, b"5\r\nhello\r\n"), "too_large"),
    "endless, no length": (flood(OK + b"\r\n", b"x"), "too_large"),
    "one byte too many": (OK + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001, "too_large"),
    "a chunk of 2^60": (flood(CHUNKED + b"1000000000000000\r\n", b"x"), "too_large"),
    # slow
    "silence": (silence, "timeout"),
    "silence after the headers": (
        lambda c, h: (c.sendall(OK + b"Content-Length: 9\r\n\r\n"), silence(c, h))[1],
        "timeout",
    ),
    "dripping body": (drip(OK + b"Content-Length: 900\r\n\r\n"), "timeout"),
    "dripping body, no length": (drip(OK + b"\r\n"), "timeout"),
    "dripping chunks": (drip(CHUNKED, b"1\r\nx\r\n"), "timeout"),
    "dripping chunk size": (drip(CHUNKED, b"0"), "timeout"),
    "dripping status": (drip(b"HTTP/1.1 200 ", b"x"), "timeout"),
    "dripping headers": (drip(OK, b"a: b\r\n"), "timeout"),
    "dripping trailers": (drip(CHUNKED + b"0\r\n", b"a: b\r\n"), "timeout"),
    "dripping 100 Continue": (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout"),
    # headers
    "20 MB of headers": (OK + b"".join(b"h%d: " % n + b"x" * 60_000 + b"\r\n" for n in range(340)), "too_large"),
    "100,000 headers": (OK + b"a: b\r\n" * 100_000 + b"\r\n", "unreachable"),
    "a header of 1 MB": (OK + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n", "unreachable"),
    "a status line of 1 MB": (b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\n\r\n", "unreachable"),
    "endless 100 Continue": (flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "too_large"),
    "an endless chunk size": (flood(CHUNKED, b"0"), "truncated"),
    "an endless chunk extension": (flood(CHUNKED + b"1;", b"x"), "truncated"),
    "endless trailers": (flood(CHUNKED + b"0\r\n", b"a: b\r\n"), "too_large"),
    # truncated
    "short body": (OK + b"Content-Length: 10\r\n\r\nshort", "truncated"),
    "no body": (OK + b"Content-Length: 10\r\n\r\n", "truncated"),
    "short chunk": (CHUNKED + b"a\r\nshort", "truncated"),
    "no last chunk": (CHUNKED + b"5\r\nshort\r\n", "truncated"),
    "no chunk at all": (CHUNKED, "truncated"),
    "wrong chunk size": (CHUNKED + b"zz\r\nshort\r\n0\r\n\r\n", "truncated"),
    # not HTTP at all
    "hangs up": (b"", "unreachable"),
    "SSH": (b"SSH-2.0-OpenSSH_9.9\r\n", "unreachable"),
    "HTTP/0.9": (b"<html>hello</html>", "unreachable"),
    "a strange status": (b"HTTP/1.1 2x0 OK\r\n\r\n", "unreachable"),
    "a status too low": (b"HTTP/1.1 42 OK\r\n\r\n", "unreachable"),
}


@pytest.fixture
def peak_bytes() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_server_is_abandoned_soon(serve: Serve, peak_bytes: Callable[[], int], case: str) -> None:
    script, code = CASES[case]
    server, threads = serve(script), threading.active_count()
    with pytest.raises(Problem) as problem:
        fetch(server.url, max_bytes=1000, deadline_s=DEADLINE_S if code == "timeout" else NEVER_S)
    assert problem.value.code == code
    assert peak_bytes() < 4_000_000
    assert str(server.port) not in problem.value.message and "SSH" not in problem.value.message
    assert threading.active_count() <= threads + 1  # the server's own


def test_a_slow_handshake_ends_with_the_deadline(serve: Serve) -> None:
    for script in (silence, drip(b"\x16\x03\x03\x40\x00", b"x")):  # a TLS record that never ends
        url = serve(script, is_rude=True).url
        with pytest.raises(Problem) as problem:
            fetch(url, max_bytes=1000, deadline_s=DEADLINE_S)
        assert problem.value.code == "timeout"


def test_a_plain_server_at_an_https_address_is_no_crash(serve: Serve) -> None:
    server = serve(b"HTTP/1.1 400 Bad\r\n\r\n", is_rude=True)
    with pytest.raises(Problem) as problem:
        fetch(server.url, max_bytes=1000, deadline_s=NEVER_S)
    assert problem.value.code in ("tls", "unreachable")


def test_all_redirects_share_one_deadline(serve: Serve) -> None:
    """Each is answered within it, all together are not."""

    def slow(client: socket.socket, _: bytes) -> None:
        time.sleep(0.15)
        client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")

    with pytest.raises(Problem) as problem:
        fetch(serve(slow).url, max_bytes=1000, deadline_s=0.4)
    assert problem.value.code == "timeout"


def test_the_body_of_a_redirect_is_not_read(serve: Serve) -> None:
    start = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Encoding: gzip\r\n\r\n"

    def script(client: socket.socket, head: bytes) -> None:
        if b"GET /b " in head:
            client.sendall(OK + b"Content-Length: 4\r\n\r\nhere")
        else:
            flood(start, BOMB)(client, head)

    assert fetch(serve(script).url, max_bytes=1000, deadline_s=NEVER_S).data == b"here"


def test_noise_raises_nothing_but_problems(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """300 answers, each a valid one with some bytes changed, cut or duplicated."""
    dice = random.Random(20)
    good = OK + b'Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\nETag: "1"\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
    reply = good
    server = serve(lambda client, _: client.sendall(reply))
    for _ in range(300):
        noise = bytearray(good)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(noise))
            noise[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
        reply = bytes(noise)
        with suppress(Problem):
            assert len(fetch(server.url, max_bytes=1000, deadline_s=NEVER_S).data) <= 1000
    assert caplog.text == ""  # nor does it fill our logs


def test_a_receiver_that_never_reads_does_not_hold_a_post(loopback_allowed: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(Problem) as problem:
            post(f"http://127.0.0.1:{deaf.getsockname()[1]}/", bytes(20_000_000), {}, deadline_s=DEADLINE_S)
    assert problem.value.code == "timeout"
