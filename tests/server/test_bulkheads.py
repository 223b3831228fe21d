"""Deliveries, pages and checks have threads of their own; what finds no thread waits, and not for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.asgi.budget import Overloaded
from portal.asgi.bulkheads import Bulkhead
from tests.processes import until
from tests.server.wire import Wire, ask, get

PAGES, DELIVERIES, WAITING = 4, 2, 20  # threads of the tiny app, and requests that may wait for each pool


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that doesn't exist until the end: requests for /hold wait for it."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def held(port: int, path: str, gate: Path, count: int) -> list[Wire]:
    """Send requests that hold their threads; return when those for deliveries have missed the cache, and wait."""
    expected = len(get(port, "/calls").json["looked_up"]) + count * ("/images/" in path)
    wires = [Wire(port) for _ in range(count)]
    for wire in wires:
        wire.sendall(f"GET {path}?{gate} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    until(lambda: "/images/" not in path or len(get(port, "/calls").json["looked_up"]) == expected)
    return wires


def test_deliveries_that_hang_leave_pages_alone(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/images/hold", gate, DELIVERIES + 1)
    try:
        assert [get(tiny, path).status for path in ("/", "/healthz", "/readyz")] == [200] * 3
        gate.touch()
        assert [wire.read().body for wire in wires] == [b"held"] * len(wires)
    finally:
        close(wires)


def test_deliveries_that_hang_leave_alone_what_the_cache_has(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/images/hold", gate, DELIVERIES + 1)
    try:
        assert get(tiny, "/images/cached").body == b"cached"
    finally:
        close(wires)


def test_pages_that_hang_leave_deliveries_and_checks_alone(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/hold", gate, PAGES)
    try:
        assert [get(tiny, path).status for path in ("/images/a", "/healthz", "/readyz")] == [200] * 3
    finally:
        close(wires)


def test_where_a_request_waits_depends_on_the_path_that_the_app_sees(tiny: int, gate: Path) -> None:
    wires = held(tiny, "http://x/images/hold", gate, DELIVERIES)
    try:
        later = Wire(tiny)
        wires.append(later)
        later.sendall(b"GET /sub/images/elsewhere HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /sub\r\n\r\n")
        assert [get(tiny, "/").status for _ in range(3)] == [200] * 3
        assert "/images/elsewhere" not in get(tiny, "/calls").json["calls"]
    finally:
        close(wires)


def test_a_target_that_is_no_url_holds_no_thread(tiny: int) -> None:
    for _ in range(PAGES + 1):
        assert ask(tiny, "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n").status == 400
    assert get(tiny, "/").status == 200


def test_more_than_may_wait_is_refused(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/images/hold", gate, DELIVERIES + WAITING)
    try:
        answers = [get(tiny, "/images/refused") for _ in range(2)]
        assert [(answer.status, answer.headers["retry-after"]) for answer in answers] == [(503, "2")] * 2
        gate.touch()
        assert [wire.read().status for wire in wires] == [200] * len(wires)
    finally:
        close(wires)


def test_a_request_whose_client_leaves_while_it_waits_is_not_run(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/images/hold", gate, DELIVERIES)
    left = held(tiny, "/images/left", gate, WAITING)
    try:
        assert get(tiny, "/images/refused").status == 503
        close(left)
        assert get(tiny, "/").status == 200  # by now the event loop has noticed
        later = Wire(tiny)
        wires.append(later)
        later.sendall(b"GET /images/later HTTP/1.1\r\nHost: x\r\n\r\n")
        gate.touch()
        assert later.read().status == 200
    finally:
        close(wires)
    assert "/images/left" not in get(tiny, "/calls").json["calls"]


def test_a_cancelled_call_keeps_its_thread_until_it_ends() -> None:
    async def run() -> None:
        bulkhead, over = Bulkhead("test", 1, 1), threading.Event()
        call = asyncio.create_task(bulkhead.call(over.wait))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        later = asyncio.create_task(bulkhead.call(lambda: "later"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await bulkhead.call(lambda: "refused")
        over.set()
        assert await later == "later"

    asyncio.run(run())


def close(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()
