"""`python app.py` as a whole, and the two servers that it brings along."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from redis import AuthenticationError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app import create_app
from portal import embedded
from portal.embedded import CannotStart, Server, process, start_seaweedfs, start_valkey
from portal.embedded.supervisor import Supervisor
from tests.conftest import scratch
from tests.installation import DEAF, Installation, installation
from tests.processes import ROOT, descendants, lives, until
from tests.servers import free_port

PROCESSES = 9  # Valkey, SeaweedFS; gunicorn and its two; the pool and one worker a queue


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    directory = scratch("whole-")
    try:
        with installation(directory, before=DEAF) as made:
            for pid, args in descendants(made.process.pid).items():
                if "add-demo-photos" in args:  # photos to render, which nobody looks at here
                    os.kill(pid, signal.SIGKILL)
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


Refused = Callable[..., str]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Refused]:
    """What the command says, in one sentence, where it starts nothing."""
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


@pytest.fixture
def kept() -> Iterator[Callable[[Server], Server]]:
    """Have a server stopped when the test is over."""
    with ExitStack() as servers:

        def keep(server: Server) -> Server:
            servers.callback(server.stop, timeout_s=0.2)  # SeaweedFS takes two seconds to say goodbye
            return server

        yield keep


class TestTheWhole:
    """In this order: the last three end it."""

    def test_it_says_calmly_what_a_newcomer_needs(self, running: Installation) -> None:
        said = "\n".join(running.said)
        for word in (
            "Frontage is ready",
            "Sign in, once, at",
            "API key, told once",
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
                "pixels_worker",
                "network_worker",
                "webhooks_worker",
                "sync_worker",
                "cdn_worker",
                "schedule_worker",
            ),
            "ready",
        )

    def test_what_is_secret_is_ours_alone(self, running: Installation) -> None:
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

    def test_a_port_that_is_taken_is_refused(self, running: Installation, refused: Refused, tmp_path: Path) -> None:
        said = refused(DATA_DIR=tmp_path, PORT=running.port)
        assert f"Another program is listening on port {running.port} of 127.0.0.1" in said
        assert not (tmp_path / "valkey").exists()

    def test_a_hung_redis_is_told_while_it_hangs(self, running: Installation) -> None:
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
    def test_each_part_that_is_killed_comes_back(self, running: Installation) -> None:
        until(lambda: running.state()[0] == 200)
        _, worker, *_ = sorted(pid for pid, args in descendants(running.process.pid).items() if "workers.pool" in args)
        os.kill(worker, signal.SIGKILL)
        until(lambda: running.has_said("worker restarts in 0.5 s: name=pixels-1"))
        for part in ("valkey-server", "gunicorn"):  # they are all watched in one way
            (pid, *_) = sorted(pid for pid, args in descendants(running.process.pid).items() if part in args)
            os.kill(pid, signal.SIGKILL)
        until(lambda: running.is_ready() and len(descendants(running.process.pid)) >= PROCESSES)
        assert running.has_said("again in")

    def test_sigterm_ends_it_and_leaves_nothing(self, running: Installation) -> None:
        started = descendants(running.process.pid)
        assert len(started) >= PROCESSES
        running.process.terminate()
        running.process.terminate()  # as a wrapper does that passes on what the whole group got: one stop, not a hurry
        assert running.process.wait(timeout=60) == 0
        assert not _alive(started)

    @pytest.mark.slow
    def test_sigint_ends_it_in_the_middle_of_its_start_too(self, running: Installation) -> None:
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
    def test_killed_itself_it_leaves_nothing_either_and_starts_again(self, running: Installation) -> None:
        _end(running)
        with installation(running.directory) as second:
            assert not second.has_said("Sign in")  # the first run was the first
            started = descendants(second.process.pid)
            second.process.kill()
            second.process.wait(timeout=60)
            until(lambda: not _alive(started))


def test_a_wrong_setting_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "WEB_THREADS must be" in refused(DATA_DIR=tmp_path, WEB_THREADS="many")


def test_a_host_that_is_not_here_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "Frontage can't listen on port 8000 of 192.0.2.1" in refused(DATA_DIR=tmp_path, HOST="192.0.2.1")


def test_valkey_keeps_what_it_was_given_through_a_kill(tmp_path: Path, kept: Callable[[Server], Server]) -> None:
    first = kept(start_valkey(tmp_path))
    with Redis.from_url(first.settings["redis_url"]) as redis:
        redis.set("key", "value")
    first.process.kill()
    first.process.wait(timeout=30)
    second = kept(start_valkey(tmp_path))
    with Redis.from_url(second.settings["redis_url"]) as redis:
        assert redis.get("key") == b"value"
        assert redis.info("memory")["maxmemory_policy"] == "noeviction"


def test_where_the_path_is_too_long_for_a_socket_valkey_asks_for_a_password(
    tmp_path: Path, kept: Callable[[Server], Server]
) -> None:
    server = kept(start_valkey(tmp_path / ("long" * 30)))
    url = server.settings["redis_url"]
    with Redis.from_url(url) as redis:
        assert redis.ping()
    stranger = Redis(port=int(url.rpartition(":")[2].removesuffix("/0")), retry=Retry(NoBackoff(), 0))
    with stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def _text(client: Any) -> bytes | None:
    try:
        text: bytes = client.get_object(Bucket="photos", Key="a/b.txt")["Body"].read()
    except ClientError:
        return None
    return text


def test_seaweedfs_keeps_what_it_was_given_and_nobody_else_gets_in(
    tmp_path: Path, kept: Callable[[Server], Server]
) -> None:
    first = kept(start_seaweedfs(tmp_path))
    client = _s3(first.settings)
    client.create_bucket(Bucket="photos")
    client.put_object(Bucket="photos", Key="a/b.txt", Body=b"text")
    first.process.kill()
    first.process.wait(timeout=30)
    second = kept(start_seaweedfs(tmp_path))
    assert second.settings == first.settings  # so that presigned URLs outlive it
    until(lambda: _text(client) == b"text")  # it answers a moment before it has found its volumes
    stranger = _s3(second.settings | {"s3_secret_key": "guessed"})
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket="photos", Key="a/b.txt")
    assert requests.get(f"{second.settings['s3_endpoint_url']}/photos/a/b.txt", timeout=30).status_code == 403


def test_a_part_that_ends_at_its_start_is_told() -> None:
    with pytest.raises(CannotStart, match="SeaweedFS exited during startup with status 3"):
        process.start(process.Part("SeaweedFS", ["sh", "-c", "exit 3"], is_ready=lambda: False))


def test_a_part_that_runs_once_is_reaped_when_it_has_ended_and_not_started_again() -> None:
    supervisor = Supervisor()
    supervisor.start(process.Part("once", ["true"], runs_once=True))
    (child,) = supervisor.children
    pid = child.process.pid
    until(lambda: not lives(pid))
    child.look()
    with pytest.raises(ProcessLookupError):  # a zombie would still take a signal
        os.kill(pid, 0)
    child.look()
    assert child.process.pid == pid


@pytest.mark.slow
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotStart, match="SeaweedFS"):
            start_seaweedfs(tmp_path, port=taken.getsockname()[1])


def _s3(settings: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings["s3_endpoint_url"],
        aws_access_key_id=settings["s3_access_key"],
        aws_secret_access_key=settings["s3_secret_key"],
        region_name="us-east-1",
    )


def _end(running: Installation) -> None:
    """The test before may have run elsewhere, and its data are held as long as it lives."""
    running.process.terminate()
    running.process.wait(timeout=60)


def _alive(started: dict[int, str]) -> dict[int, str]:
    return {pid: args for pid, args in started.items() if lives(pid)}


IN_A_DESTRUCTOR = """
import os, signal, time
from portal.embedded.main import _interrupter
for number in (signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, interrupt := globals().get("interrupt") or _interrupter())
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
one = Dying()
one = None
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.slow
def test_a_signal_that_python_drops_is_heard_a_moment_later() -> None:
    said = subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Exception ignored" in said.stderr
    assert said.stdout == "heard\n"
