"""Web servers in processes of their own: the tiny app behind the front, and behind gunicorn's threaded worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from tests.processes import started, until
from tests.server.wire import get
from tests.servers import free_port

TINY = ("--config", "python:tests.server.tiny_settings")
THREADED = ("--worker-class", "gthread", "--threads", "4", "--no-control-socket", "tests.server.tiny:wsgi")


@contextmanager
def served(*arguments: str, directory: Path, port: int, before: tuple[str, ...] = ()) -> Iterator[Popen[str]]:
    """Run gunicorn until the block ends. Its threads: four, and two for deliveries."""
    env = {"DATA_DIR": str(directory), "SECRET_KEY": "only for tests, only for tests, only for tests"}
    env |= {"PORT": str(port), "WEB_THREADS": "4"}
    command = (*before, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--log-level", "critical", *arguments)
    with started(*command, env=env, stdout=DEVNULL) as process:
        until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, "it did not start"
        yield process


def answers(port: int) -> bool:
    try:
        return get(port, "/").status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the tiny app."""
    port = free_port()
    with served(*TINY, directory=tmp_path_factory.mktemp("tiny"), port=port):
        yield port


@pytest.fixture(scope="session")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the same WSGI app behind gunicorn's threaded worker."""
    port = free_port()
    with served(*THREADED, directory=tmp_path_factory.mktemp("threaded"), port=port):
        yield port
