"""The WSGI app gets the same requests as from gunicorn's own WSGI workers, and clients the same answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.wire import Wire, ask

BODY = b"name=Birch Barn"
REQUESTS = {
    "plain": "GET /a?b=c&d HTTP/1.1\r\nHost: photos.example:8000\r\n\r\n",
    "encoded": "GET /caf%C3%A9/a%2Fb%20c%ff?q=%C3%A9%20 HTTP/1.1\r\nHost: x\r\n\r\n",
    "two slashes": "GET //a//b HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute": "GET http://other.example/a/b?c HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": "GET http://other.example HTTP/1.1\r\nHost: x\r\n\r\n",
    "every resource": "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "without a host": "GET /a HTTP/1.0\r\n\r\n",
    "repeated headers": "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nX-A: 1\r\nx-a: 2\r\nCookie: b=2\r\n\r\n",
    "not ASCII": "GET / HTTP/1.1\r\nHost: x\r\nX-A: caf\xc3\xa9\r\n\r\n",
    "proxy": "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n",
    "underscores": "GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 192.0.2.1\r\nContent_Length: 3\r\n\r\n",
    "a prefix that only proxies may name": "GET /sub/a HTTP/1.1\r\nHost: x\r\nScript-Name: /sub\r\n\r\n",
    "mounted, encoded": "GET /sub/a%2Fb HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /sub\r\n\r\n",
    "mounted": "GET /sub/a HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /sub\r\n\r\n",
    "body": f"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n{BODY.decode()}",
    "empty body": "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "chunks": "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
    "GET with a body": "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    "unusual method": "PROPFIND /a HTTP/1.1\r\nHost: x\r\n\r\n",
}
OWN = {"SERVER_PORT", "REMOTE_PORT", "SERVER_SOFTWARE", "RAW_URI"}  # differ, or nothing here reads them


def environ(port: int, request: str) -> dict[str, Any]:
    answer = ask(port, request)
    assert answer.status == 200, answer
    return {name: value for name, value in answer.json.items() if name not in OWN}


def test_the_environ_is_that_of_the_threaded_worker(tiny: int, threaded: int, subtests: pytest.Subtests) -> None:
    for name, request in REQUESTS.items():
        with subtests.test(name):
            assert environ(tiny, request) == environ(threaded, request)


def test_a_path_outside_the_prefix_is_refused(tiny: int) -> None:
    assert ask(tiny, "GET /subject HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /other\r\n\r\n").status == 400


def test_head_has_the_headers_of_get(tiny: int) -> None:
    answer = ask(tiny, "HEAD /large?1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1000", b"")
    answer = ask(tiny, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.headers["content-length"]) != (200, "0")


def test_a_client_that_expects_100_sends_its_body_then(tiny: int) -> None:
    head = b"POST /limited HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with Wire(tiny) as wire:
        wire.sendall(head % len(BODY))
        assert wire.read().status == 100
        wire.sendall(BODY)
        assert wire.read().body == b"15"
    with Wire(tiny) as wire:  # is told before it sends what is too long
        wire.sendall(head % (2 * 1024**2))
        assert wire.read().status == 413


def test_pipelined_requests_are_answered_in_order(tiny: int) -> None:
    with Wire(tiny) as wire:
        wire.sendall(b"".join(b"GET /large?%d HTTP/1.1\r\nHost: x\r\n\r\n" % size for size in (10, 20, 30)))
        received = b""
        while received.count(b"HTTP/1.1 200") < 3 or not received.endswith(bytes(30)):
            received += wire.recv(1 << 16)
    assert [received.find(b"content-length: %d" % size) > 0 for size in (10, 20, 30)] == [True] * 3
