"""The embedded Valkey and SeaweedFS, and how the supervisor starts, watches and stops its parts."""

from __future__ import annotations

import os
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

from portal.embedded import CannotStart, Server, process, start_seaweedfs, start_valkey
from portal.embedded.supervisor import Supervisor
from tests.processes import ROOT, lives, until


@pytest.fixture
def kept() -> Iterator[Callable[[Server], Server]]:
    """Stop a server when the test is over."""
    with ExitStack() as servers:

        def keep(server: Server) -> Server:
            servers.callback(server.stop, timeout_s=0.2)  # a clean stop of SeaweedFS takes two seconds
            return server

        yield keep


def test_valkey_keeps_its_data_through_a_kill(tmp_path: Path, kept: Callable[[Server], Server]) -> None:
    first = kept(start_valkey(tmp_path))
    with Redis.from_url(first.settings["redis_url"]) as redis:
        redis.set("key", "value")
    first.process.kill()
    first.process.wait(timeout=30)
    second = kept(start_valkey(tmp_path))
    with Redis.from_url(second.settings["redis_url"]) as redis:
        assert redis.get("key") == b"value"
        assert redis.info("memory")["maxmemory_policy"] == "noeviction"


def test_valkey_needs_a_password_if_the_path_is_too_long_for_a_socket(
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


def test_seaweedfs_keeps_its_data_and_lets_nobody_else_in(tmp_path: Path, kept: Callable[[Server], Server]) -> None:
    first = kept(start_seaweedfs(tmp_path))
    client = _s3(first.settings)
    client.create_bucket(Bucket="photos")
    client.put_object(Bucket="photos", Key="a/b.txt", Body=b"text")
    first.process.kill()
    first.process.wait(timeout=30)
    second = kept(start_seaweedfs(tmp_path))
    assert second.settings == first.settings  # so that presigned URLs stay valid
    until(lambda: _text(client) == b"text")  # it answers a moment before it has found its volumes
    stranger = _s3(second.settings | {"s3_secret_key": "guessed"})
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.get_object(Bucket="photos", Key="a/b.txt")
    assert requests.get(f"{second.settings['s3_endpoint_url']}/photos/a/b.txt", timeout=30).status_code == 403


def test_a_part_that_ends_during_its_start_is_reported() -> None:
    with pytest.raises(CannotStart, match="SeaweedFS exited during startup with status 3"):
        process.start(process.Part("SeaweedFS", ["sh", "-c", "exit 3"], is_ready=lambda: False))


def test_a_part_that_runs_once_is_reaped_and_not_restarted() -> None:
    supervisor = Supervisor()
    supervisor.start(process.Part("once", ["true"], runs_once=True))
    (child,) = supervisor.children
    pid = child.process.pid
    until(lambda: not lives(pid))
    child.restart_if_dead()
    with pytest.raises(ProcessLookupError):  # a zombie would still take a signal
        os.kill(pid, 0)
    child.restart_if_dead()
    assert child.process.pid == pid


@pytest.mark.slow
def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
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


IN_A_DESTRUCTOR = """
import os, signal, time
from portal.embedded.main import _interrupt_handler
for number in (signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, interrupt := globals().get("interrupt") or _interrupt_handler())
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
def test_a_signal_that_python_drops_is_handled_a_moment_later() -> None:
    said = subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Exception ignored" in said.stderr
    assert said.stdout == "heard\n"
