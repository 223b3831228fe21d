"""Deliveries, pages and checks have threads of their own; what finds no thread waits, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.wire import Wire, get

PAGES, DELIVERIES, WAITING = 4, 2, 20  # threads of the tiny app, and requests that may wait for each pool


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that doesn't exist until the end: requests for /hold wait for it."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def held(port: int, path: str, gate: Path, count: int) -> list[Wire]:
    """Send requests that hold their threads; return when the app has begun as many as can begin."""
    wires = [Wire(port) for _ in range(count)]
    for wire in wires:
        wire.sendall(f"GET {path}?{gate} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return wires


def test_deliveries_that_hang_leave_pages_alone(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/images/hold", gate, DELIVERIES + 1)
    try:
        assert [get(tiny, path).status for path in ("/", "/healthz", "/readyz")] == [200] * 3
        gate.touch()
        assert [wire.read().body for wire in wires] == [b"held"] * len(wires)
    finally:
        close(wires)


def test_pages_that_hang_leave_deliveries_and_checks_alone(tiny: int, gate: Path) -> None:
    wires = held(tiny, "/hold", gate, PAGES)
    try:
        assert [get(tiny, path).status for path in ("/images/a", "/healthz", "/readyz")] == [200] * 3
    finally:
        close(wires)


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


def close(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()
