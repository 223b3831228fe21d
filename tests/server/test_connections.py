"""Connections that send nothing, or not enough, are ended, and hold up nobody."""

from __future__ import annotations

import socket
import struct

from tests.abuse import abused
from tests.server.wire import Wire, get

MAX_CONNECTIONS = 300  # of the tiny app


def test_a_connection_without_whole_headers_is_ended(tiny: int) -> None:
    with Wire(tiny) as silent, Wire(tiny) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A:")
        assert silent.is_closed()
        assert half.is_closed()


def test_a_connection_that_is_kept_alive_may_be_idle_for_a_while(tiny: int) -> None:
    with Wire(tiny) as wire, Wire(tiny) as silent:
        for _ in range(2):
            wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.read().status == 200
            assert silent.is_closed()  # which takes longer than headers may take


def test_above_the_limit_the_longest_idle_connection_is_closed(tiny: int) -> None:
    """The tiny app's process has one limit for all of these tests, so it must be exceeded at once."""
    wires = [Wire(tiny) for _ in range(MAX_CONNECTIONS + 20)]
    try:
        assert get(tiny, "/").status == 200
        assert wires[0].is_closed()
        wires[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wires[-1].read().status == 200
    finally:
        for wire in wires:
            wire.close()


def test_above_the_limit_unfinished_bodies_make_room(tiny: int) -> None:
    """A connection that waits for its client doesn't keep others out, though it is busy."""
    wires = [Wire(tiny) for _ in range(MAX_CONNECTIONS)]
    try:
        for wire in wires:
            wire.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert [get(tiny, path).status for path in ("/healthz", "/", "/healthz")] == [200] * 3
    finally:
        for wire in wires:
            wire.close()


def test_others_are_answered_while_clients_send_slowly(tiny: int) -> None:
    with abused(tiny, "slow headers", "slow bodies", "slow forms", "idle", share=0.2):
        for _ in range(20):
            assert [get(tiny, path, within_s=2).status for path in ("/healthz", "/")] == [200, 200]


def test_clients_that_reset_or_half_close_hold_up_nobody(tiny: int) -> None:
    """They are fewer than may wait for a thread."""
    for _ in range(10):
        with Wire(tiny) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    halves = [Wire(tiny) for _ in range(10)]
    for wire in halves:
        wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.shutdown(socket.SHUT_WR)
    assert get(tiny, "/").status == 200
    for wire in halves:
        assert wire.is_closed()
        wire.close()
