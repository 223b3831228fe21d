"""How the web server's processes end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.installation import DEAF
from tests.processes import WITHIN_S, descendants, lives, until
from tests.server.conftest import TINY, answers, served
from tests.server.wire import Wire, get
from tests.servers import free_port


@pytest.mark.parametrize(
    ("number", "before"), [(signal.SIGINT, DEAF), pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow)]
)
def test_requests_finish_before_it_stops(tmp_path: Path, number: signal.Signals, before: tuple[str, ...]) -> None:
    """Whatever signal settings it inherited. Idle connections don't delay the end."""
    port, gate = free_port(), tmp_path / "gate"
    with served(*TINY, directory=tmp_path, port=port, before=before) as process, Wire(port) as busy, Wire(port) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.read().status == 200
        busy.sendall(f"GET /hold?{gate} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: "/hold" in get(port, "/calls").json["calls"])
        process.send_signal(number)
        assert idle.is_closed()
        gate.touch()
        assert busy.read().body == b"held"
        assert process.wait(WITHIN_S) == 0


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_a_killed_master_takes_it_along(tmp_path: Path) -> None:
    port = free_port()
    with served(*TINY, directory=tmp_path, port=port) as process:
        (worker,) = descendants(process.pid)
        os.kill(worker, signal.SIGKILL)
        until(lambda: not lives(worker) and answers(port))
        (worker,) = descendants(process.pid)
        process.kill()
        until(lambda: not lives(worker))
