"""The app gets a request's whole body or none, and no body holds a thread while it arrives."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from portal.asgi.bodies import MEMORY_BYTES, Bodies, Body, Receive
from portal.asgi.budget import ByteBudget
from portal.errors import DiskFull, StorageFailed
from tests.server.wire import Wire, ask, get

HEAD = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
CHUNKED = "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ANONYMOUS = "PUT /api/properties/1 HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
FORM = ANONYMOUS + "Authorization: Bearer x\r\n"


def test_a_body_that_stalls_is_ended(tiny: int) -> None:
    with Wire(tiny) as half, Wire(tiny) as chunk, Wire(tiny) as dripping:
        half.sendall(HEAD.format("/stalled", 100).encode() + b"half")
        chunk.sendall(CHUNKED.format("/stalled").encode() + b"4\r\nhalf\r\n")
        dripping.sendall(HEAD.format("/stalled", 1000).encode())
        over = threading.Event()

        def drip() -> None:
            while not over.wait(0.05):
                try:
                    dripping.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert [wire.read().status for wire in (half, chunk, dripping)] == [408] * 3
            assert half.is_closed() and chunk.is_closed() and dripping.is_closed()
        finally:
            over.set()
            thread.join()
    assert "/stalled" not in get(tiny, "/calls").json["calls"]


def test_a_form_that_progresses_too_slowly_for_its_size_is_ended(tiny: int) -> None:
    """Each of its pieces arrives in time."""
    with Wire(tiny) as wire:
        wire.sendall(FORM.encode() + b"X-Form: slow\r\nContent-Length: 100000000\r\n\r\n")
        wire.settimeout(0.1)
        for _ in range(100):
            wire.sendall(bytes(6 * 1024))
            try:
                if data := wire.recv(1 << 16):
                    assert data.startswith(b"HTTP/1.1 408")
                    return
            except TimeoutError:
                continue
        raise AssertionError("it was never ended")


def test_a_large_form_of_nobody_is_refused_without_being_read(tiny: int) -> None:
    limited = ANONYMOUS.replace("/1 ", "/limited ")
    assert ask(tiny, f"{limited}Content-Length: {5 * 1024**2}\r\n\r\n").status == 413


def test_a_body_that_cannot_be_stored_fails_in_the_app_and_gives_its_bytes_back(tmp_path: Path) -> None:
    def on_full_disk() -> None:
        raise DiskFull

    for folder, demand_room, expected in (
        (tmp_path, on_full_disk, DiskFull),
        (tmp_path / "gone", lambda: None, StorageFailed),
    ):
        budget = ByteBudget(2 * MEMORY_BYTES)
        reader = Bodies(folder, max_bytes=10**6, max_form_bytes=10**6, budget=budget, demand_room=demand_room)
        with asyncio.Runner() as runner, runner.run(reader.read(*sent(bytes(2 * MEMORY_BYTES)))) as body:
            with pytest.raises(StorageFailed) as raised:
                body.read()
            assert type(raised.value) is expected
        budget.take(2 * MEMORY_BYTES)


def test_a_body_whose_file_fails_at_the_end_gives_its_bytes_back(tmp_path: Path) -> None:
    budget = ByteBudget(2 * MEMORY_BYTES)
    body = Body(tmp_path, budget, lambda: None)
    body.append(bytes(2 * MEMORY_BYTES))
    os.close(body.fileno())
    body.close()
    budget.take(2 * MEMORY_BYTES)


def sent(data: bytes) -> tuple[dict[str, Any], str, Receive]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    return {"headers": [(b"content-length", str(len(data)).encode())]}, "/", receive


def test_a_truncated_body_never_reaches_the_app(tiny: int) -> None:
    for head, body in (
        (HEAD.format("/truncated", 100), b"half"),
        (CHUNKED.format("/truncated"), b"4\r\nhalf\r\n0\r\n"),
    ):
        with Wire(tiny) as wire:
            wire.sendall(head.encode() + body)
            wire.shutdown(1)
            assert wire.read().status in (0, 400)
        with Wire(tiny) as wire:
            wire.sendall(head.encode() + body)
    assert "/truncated" not in get(tiny, "/calls").json["calls"]


def test_what_is_too_long_is_refused_by_the_app_without_being_read(tiny: int) -> None:
    length = 2 * 1024**2
    assert ask(tiny, HEAD.format("/limited", length)).status == 413
    with Wire(tiny) as wire:  # a client that doesn't read before it has sent everything
        wire.sendall(HEAD.format("/limited", length).encode() + bytes(length))
        assert wire.read().status == 413
        assert wire.is_closed()
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with Wire(tiny) as wire:
        wire.sendall(CHUNKED.format("/limited").encode() + chunk * 20 + b"0\r\n\r\n")
        assert wire.read().status == 413


def test_a_form_with_photos_may_be_larger(tiny: int) -> None:
    data = os.urandom(5 * 1024**2)
    with Wire(tiny) as wire:
        wire.sendall(FORM.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        assert wire.read().json["body"] == hashlib.sha256(data).hexdigest()
        half = len(data) // 2
        chunks = b"".join(b"%x\r\n" % half + data[at : at + half] + b"\r\n" for at in (0, half))
        wire.sendall(FORM.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert wire.read().json["body"] == hashlib.sha256(data).hexdigest()
    other = FORM.replace("/api/properties/1", "/limited") + f"Content-Length: {len(data)}\r\n\r\n"
    assert ask(tiny, other).status == 413


def test_a_slow_form_does_not_hold_a_thread(tiny: int) -> None:
    slow = [Wire(tiny) for _ in range(12)]
    try:
        for wire in slow:
            wire.sendall(FORM.encode() + b"Content-Length: 200000\r\n\r\n" + bytes(100_000))
        assert get(tiny, "/").status == 200
        for wire in slow:
            wire.sendall(bytes(100_000))
        assert [wire.read().status for wire in slow] == [200] * len(slow)
    finally:
        for wire in slow:
            wire.close()
