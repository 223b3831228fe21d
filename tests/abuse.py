"""Clients that abuse a web server on this machine, each kind until it is told to stop."""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event

CONNECTIONS = 64
IDLE_CONNECTIONS = 1000
DRIP_EVERY_S = 0.5
PATH = "/sign-in"
GET = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
Client = Callable[[int, Event, int], None]


def slow_headers(port: int, over: Event, count: int) -> None:
    """Send headers without an end, a byte at a time."""
    _drip(port, over, count, f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".encode())


def slow_bodies(port: int, over: Event, count: int) -> None:
    """Announce a body, and send it a byte at a time."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    _drip(port, over, count, f"{head}Content-Length: 100000\r\n\r\n".encode())


def slow_forms(port: int, over: Event, count: int) -> None:
    """Send the beginning of a form with photos, which goes to the disk, then a byte at a time."""
    head = "PUT /api/properties/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += "Authorization: Bearer x\r\n"
    _drip(port, over, count, f"{head}Content-Length: 20000000\r\n\r\n".encode() + bytes(200_000))


def large_bodies(port: int, over: Event, count: int) -> None:
    """Upload as fast as the server reads, with a key that is wrong."""
    head = b"PUT /api/properties/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += b"Authorization: Bearer x\r\n"
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, min(count, 8), head + b"Content-Length: 20000000\r\n\r\n")
            _, writable, _ = select.select([], sockets, [], 0.1)
            for each in writable:
                with suppress(BlockingIOError):
                    if not _tried(each, lambda each=each: each.send(bytes(256 * 1024))):  # type: ignore[misc]
                        sockets.remove(each)


def idle(port: int, over: Event, count: int) -> None:
    """Connect, and send nothing."""
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, count, b"")
            time.sleep(0.1)
            _drop_closed(sockets)


def pipelining(port: int, over: Event, count: int) -> None:
    """Send many requests at once, and read none of the answers."""
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, count, GET * 10)
            time.sleep(0.5)
            for each in sockets:
                each.close()
            sockets.clear()


def half_closed(port: int, over: Event, count: int) -> None:
    """Send a request and the end of the stream, then stay."""
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, count, GET)
            for each in sockets:
                _tried(each, lambda each=each: each.shutdown(socket.SHUT_WR))  # type: ignore[misc]
            time.sleep(0.5)
            _drop_closed(sockets)


def slow_readers(port: int, over: Event, count: int) -> None:
    """Ask for much, and read a byte at a time."""
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, count, b"GET /static/css/app.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 90)
            time.sleep(DRIP_EVERY_S)
            for each in list(sockets):
                with suppress(BlockingIOError):
                    if not _tried(each, lambda each=each: each.recv(1)):  # type: ignore[misc]
                        sockets.remove(each)


KINDS: dict[str, tuple[Client, int]] = {
    "slow headers": (slow_headers, CONNECTIONS),
    "slow bodies": (slow_bodies, CONNECTIONS),
    "slow forms": (slow_forms, CONNECTIONS),
    "large bodies": (large_bodies, 8),
    "idle": (idle, IDLE_CONNECTIONS),
    "pipelining": (pipelining, 16),
    "half-closed": (half_closed, CONNECTIONS),
    "slow readers": (slow_readers, CONNECTIONS),
}


@contextmanager
def abused(port: int, *kinds: str, share: float = 1.0) -> Iterator[None]:
    """Abuse a server in several ways until the block ends, each in its own process, with a share of the connections."""
    fork = multiprocessing.get_context("fork")
    over = fork.Event()
    clients = [(KINDS[kind][0], max(1, int(KINDS[kind][1] * share))) for kind in kinds]
    processes = [fork.Process(target=_run, args=(client, port, over, count), daemon=True) for client, count in clients]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        over.set()
        for process in processes:
            process.join(30)
            process.kill()


def _run(client: Client, port: int, over: Event, count: int) -> None:
    os.nice(10)  # other machines' clients would take none of the server's CPU
    client(port, over, count)


def _drip(port: int, over: Event, count: int, beginning: bytes) -> None:
    with _sockets() as sockets:
        while not over.is_set():
            _refill(port, sockets, count, beginning)
            time.sleep(DRIP_EVERY_S)
            for each in list(sockets):
                with suppress(BlockingIOError):
                    if not _tried(each, lambda each=each: each.send(b"x")):  # type: ignore[misc]
                        sockets.remove(each)


@contextmanager
def _sockets() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _refill(port: int, sockets: list[socket.socket], count: int, data: bytes) -> None:
    while len(sockets) < count:
        each = socket.socket()
        each.settimeout(5)
        if not _tried(each, lambda each=each: each.connect(("127.0.0.1", port))):  # type: ignore[misc]
            return
        with suppress(OSError):
            each.sendall(data)
        each.setblocking(False)
        sockets.append(each)


def _drop_closed(sockets: list[socket.socket]) -> None:
    for each in list(sockets):
        with suppress(BlockingIOError):
            if not _tried(each, lambda each=each: each.recv(1 << 16)):  # type: ignore[misc]
                sockets.remove(each)


def _tried(each: socket.socket, act: Callable[[], object]) -> bool:
    """Act on a socket; close it and return False if its connection has ended."""
    try:
        if act() != b"":
            return True
    except BlockingIOError:
        raise
    except OSError:
        pass
    each.close()
    return False
