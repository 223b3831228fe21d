"""`python app.py` as a whole: its output, its parts, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from app import create_app
from portal import embedded
from tests.conftest import scratch
from tests.installation import DEAF, Installation, installation
from tests.processes import descendants, lives, until
from tests.servers import free_port

PROCESSES = 9  # Valkey, SeaweedFS; gunicorn and its two; the pool and one worker per queue


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    directory = scratch("whole-")
    try:
        with installation(directory, before=DEAF, ACCESS_LOG="1") as made:
            for pid, args in descendants(made.process.pid).items():
                if "add-demo-photos" in args:  # no test here needs the demo photos
                    os.kill(pid, signal.SIGKILL)
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Refused]:
    """Run the command where it refuses to start; return its one sentence."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before, umask = [signal.getsignal(number) for number in numbers], os.umask(0o077)

    def refused(**env: object) -> str:
        for name, value in env.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(SystemExit) as left:
            embedded.main(create_app)
        said = capsys.readouterr()
        assert (left.value.code, said.out, said.err.count("\n")) == (2, "", 1)
        return said.err

    try:
        yield refused
    finally:
        os.umask(umask)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class TestInstallation:
    """In this order: the last three stop it."""

    def test_the_access_log_has_a_line_for_each_request_but_no_token(self, running: Installation) -> None:
        headers = {"X-Request-Id": "the-request"}
        requests.get(f"{running.url}/sign-in/link", params={"token": "t0ken"}, headers=headers, timeout=30)
        until(lambda: running.has_said("the-request"))
        (line,) = (line for line in running.said if "the-request" in line)
        assert re.search(r' INFO \S+ \d+ - the-request 127\.0\.0\.1 "GET /sign-in/link" \d{3} \d+ bytes \d+ ms$', line)
        assert not running.has_said("t0ken")

    def test_it_prints_what_a_newcomer_needs(self, running: Installation) -> None:
        said = "\n".join(running.said)
        for word in (
            "Frontage is ready",
            "Sign in (link works once)",
            "API key (shown once)",
            str(running.directory),
            "Ctrl+C",
        ):
            assert word in said
        assert "Traceback" not in said

    def test_every_part_is_ready(self, running: Installation) -> None:
        until(lambda: running.state()[0] == 200)
        assert running.state()[1] == dict.fromkeys(
            (
                "database",
                "redis",
                "uploads_bucket",
                "cdn_bucket",
                "disk",
                "pixels_worker",
                "network_worker",
                "webhooks_worker",
                "sync_worker",
                "cdn_worker",
                "schedule_worker",
            ),
            "ready",
        )

    def test_secrets_are_readable_by_their_owner_only(self, running: Installation) -> None:
        for name in (
            "embedded.json",
            "secret_key",
            "s3/credentials.json",
            "s3/s3.json",
            "valkey/valkey.conf",
        ):
            assert (running.directory / name).stat().st_mode & 0o077 == 0

    def test_a_second_one_with_the_same_data_is_refused(self, running: Installation, refused: Refused) -> None:
        assert "is already running with the data in" in refused(DATA_DIR=running.directory, PORT=free_port())

    def test_a_port_in_use_is_refused(self, running: Installation, refused: Refused, tmp_path: Path) -> None:
        said = refused(DATA_DIR=tmp_path, PORT=running.port)
        assert f"Another program is listening on port {running.port} of 127.0.0.1" in said
        assert not (tmp_path / "valkey").exists()

    def test_a_hung_redis_is_reported_while_it_hangs(self, running: Installation) -> None:
        (valkey,) = (pid for pid, args in descendants(running.process.pid).items() if "valkey-server" in args)
        os.kill(valkey, signal.SIGSTOP)
        try:
            status, parts = running.state()
            assert (status, parts["redis"], parts["pixels_worker"]) == (503, "away", "away")
            assert (parts["database"], parts["uploads_bucket"]) == ("ready", "ready")
            assert requests.get(f"{running.url}/healthz", timeout=30).json() == {"status": "alive"}
        finally:
            os.kill(valkey, signal.SIGCONT)

    @pytest.mark.slow
    def test_each_killed_part_is_restarted(self, running: Installation) -> None:
        until(lambda: running.state()[0] == 200)
        _, worker, *_ = sorted(pid for pid, args in descendants(running.process.pid).items() if "workers.pool" in args)
        os.kill(worker, signal.SIGKILL)
        until(lambda: running.has_said("worker restarts in 0.5 s: name=pixels-1"))
        for part in ("valkey-server", "gunicorn"):  # all parts are watched in the same way
            (pid, *_) = sorted(pid for pid, args in descendants(running.process.pid).items() if part in args)
            os.kill(pid, signal.SIGKILL)
        until(lambda: running.is_ready() and len(descendants(running.process.pid)) >= PROCESSES)
        assert running.has_said("restarts in")

    def test_sigterm_stops_it_and_leaves_nothing(self, running: Installation) -> None:
        started = descendants(running.process.pid)
        assert len(started) >= PROCESSES
        running.process.terminate()
        running.process.terminate()  # as a wrapper forwards a group's signal: still one stop
        assert running.process.wait(timeout=60) == 0
        assert not _alive(started)

    @pytest.mark.slow
    def test_sigint_stops_it_during_its_start_too(self, running: Installation) -> None:
        _end(running)
        made = Installation(running.directory, before=DEAF)
        try:
            until(lambda: any("valkey-server" in args for args in descendants(made.process.pid).values()))
            started = descendants(made.process.pid)
            made.process.send_signal(signal.SIGINT)
            assert made.process.wait(timeout=60) == 0
            assert not _alive(started)
        finally:
            made.close()

    @pytest.mark.slow
    def test_a_kill_leaves_nothing_either_and_it_starts_again(self, running: Installation) -> None:
        _end(running)
        with installation(running.directory) as second:
            assert not second.has_said("Sign in")  # only the first run prints it
            started = descendants(second.process.pid)
            second.process.kill()
            second.process.wait(timeout=60)
            until(lambda: not _alive(started))


def test_an_invalid_setting_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "WEB_THREADS must be" in refused(DATA_DIR=tmp_path, WEB_THREADS="many")


def test_a_host_of_another_machine_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "Frontage can't listen on port 8000 of 192.0.2.1" in refused(DATA_DIR=tmp_path, HOST="192.0.2.1")


def _end(running: Installation) -> None:
    """Stop it; a running installation keeps its data locked, and the test that stops it may have run elsewhere."""
    running.process.terminate()
    running.process.wait(timeout=60)


def _alive(started: dict[int, str]) -> dict[int, str]:
    return {pid: args for pid, args in started.items() if lives(pid)}
