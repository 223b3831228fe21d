"""What could be read in two ways is refused and ends the connection: nothing can be smuggled past a proxy."""

from __future__ import annotations

import pytest

from tests.server.wire import Wire, get

HEAD = b"POST /smuggled HTTP/1.1\r\nHost: x\r\n"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = {
    "length and chunks": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde" + INNER,
    "the same length twice": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "no number": HEAD + b"Content-Length: 0x10\r\n\r\n",
    "a long number": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /smuggled HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "folded header": HEAD + b"X-A: 1\r\n folded\r\n\r\n",
    "header without a colon": HEAD + b"nonsense\r\n\r\n",
    "NUL in a header": HEAD + b"X-A: a\0b\r\n\r\n",
    "bare CR in a header": HEAD + b"X-A: a\rContent-Length: 4\r\n\r\n",
    "bare LF": b"GET /smuggled HTTP/1.1\nHost: x\n\n",
    "two hosts": HEAD + b"Host: y\r\n\r\n",
    "no version": b"GET /smuggled\r\n\r\n",
    "unknown version": b"GET /smuggled HTTP/3.7\r\nHost: x\r\n\r\n",
    "space in the path": b"GET /smuggled /b HTTP/1.1\r\nHost: x\r\n\r\n",
    "control character in the path": b"GET /smug\x01gled HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100c6010000c20303") + bytes(200) + b"\r\n",
    "long path": b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": HEAD + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
    "headers without an end": HEAD + b"X-A: " + b"a" * 1_000_000,
}
BROKEN_CHUNKS = {
    "no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "a negative number": b"-1\r\nabc\r\n",
    "longer than announced": b"1\r\nabc\r\n0\r\n\r\n" + INNER,
    "bare LF": b"3\nabc\n0\n\n",
}


def test_an_ambiguous_request_is_refused_and_the_connection_ends(tiny: int, subtests: pytest.Subtests) -> None:
    for name, data in REFUSED.items():
        with subtests.test(name), Wire(tiny) as wire:
            wire.sendall(data)
            answer = wire.read()
            assert 400 <= answer.status < 500 or answer.status in (501, 505), answer
            assert wire.is_closed()
    assert_nothing_reached_the_app(tiny)


def test_broken_chunks_are_refused(tiny: int, subtests: pytest.Subtests) -> None:
    for name, chunks in BROKEN_CHUNKS.items():
        with subtests.test(name), Wire(tiny) as wire:
            wire.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            assert wire.read().status == 400
            assert wire.is_closed()
    assert_nothing_reached_the_app(tiny)


def test_a_response_cannot_be_split(tiny: int) -> None:
    answer = get(tiny, "/broken?injects")
    assert answer.status == 500
    assert "x-injected" not in answer.headers


def assert_nothing_reached_the_app(tiny: int) -> None:
    assert "/smuggled" not in get(tiny, "/calls").json["calls"]
