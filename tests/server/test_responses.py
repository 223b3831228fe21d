"""Responses: WSGI's rules, and clients that read slowly or leave."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.processes import until
from tests.server.wire import Wire, get

THREADS = 4  # of the tiny app's pages
BUDGET_BYTES = 128 * 1024**2  # of the tiny app
MANY_BYTES = 8 * 1024**2  # more than the sockets' buffers hold


def test_an_app_that_misbehaves(tiny: int, subtests: pytest.Subtests) -> None:
    for fault, status, body in (
        ("raises", 500, b"Internal Server Error"),
        ("starts twice", 500, b"Internal Server Error"),
        ("never starts", 500, b"Internal Server Error"),
        ("starts again", 500, b""),
        ("writes", 200, b"writes"),
        ("longer", 200, b"more"),
    ):
        with subtests.test(fault):
            answer = get(tiny, f"/broken?{fault.replace(' ', '%20')}")
            assert (answer.status, answer.body) == (status, body)


def test_a_response_that_breaks_off_ends_the_connection(tiny: int) -> None:
    with Wire(tiny) as wire:
        wire.sendall(b"GET /broken?raises%20later HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = wire.read()
        assert (answer.status, answer.body) == (200, b"9\r\nbeginning\r\n")
    with Wire(tiny) as wire:
        wire.sendall(b"GET /broken?shorter HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.read().body == b"four"


def test_a_stream_waits_for_its_client_and_ends_with_it(tiny: int) -> None:
    name = uuid.uuid4().hex
    with Wire(tiny) as wire:
        wire.sendall(f"GET /stream?{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wire.recv(1024)
        until(lambda: produced(tiny, name) > 1)
        counts = [0, produced(tiny, name)]
        while counts[-1] > counts[-2]:
            time.sleep(0.2)
            counts.append(produced(tiny, name))
        assert counts[-1] * 64 * 1024 < 32 * 1024**2, "only what the buffers hold"
    until(lambda: name in get(tiny, "/calls").json["closed"])


def test_a_client_that_stops_reading_is_disconnected(tiny: int) -> None:
    name = uuid.uuid4().hex
    with Wire(tiny) as wire:
        wire.sendall(f"GET /stream?{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: name in get(tiny, "/calls").json["closed"])


def test_clients_that_read_slowly_hold_no_thread(tiny: int) -> None:
    slow = [Wire(tiny) for _ in range(3 * THREADS)]
    try:
        for wire in slow:
            wire.sendall(b"GET /large?%d HTTP/1.1\r\nHost: x\r\n\r\n" % MANY_BYTES)
        assert get(tiny, "/").status == 200
        assert len(slow[0].read().body) == MANY_BYTES
    finally:
        for wire in slow:
            wire.close()


def test_slow_readers_hold_no_more_than_their_budget(tiny: int) -> None:
    """Small answers are still sent, and large ones once the slow readers have left."""
    slow = [Wire(tiny) for _ in range(BUDGET_BYTES // MANY_BYTES)]
    try:
        for wire in slow:
            wire.sendall(b"GET /large?%d HTTP/1.1\r\nHost: x\r\n\r\n" % MANY_BYTES)
            wire.recv(1)
        answer = get(tiny, "/large?100000")
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert get(tiny, "/").status == 200
    finally:
        for wire in slow:
            wire.close()
    until(lambda: get(tiny, "/large?100000").status == 200)


def produced(port: int, name: str) -> int:
    return int(get(port, "/calls").json["produced"].get(name, 0))
