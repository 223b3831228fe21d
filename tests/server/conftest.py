"""Web servers in processes of their own: the tiny app behind the front, and behind gunicorn's threaded worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
from flask import Flask

from portal.config import Settings
from tests.processes import environment_of, started, until
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


def answers(port: int, path: str = "/") -> bool:
    try:
        return get(port, path).status == 200
    except OSError:
        return False


@pytest.fixture
def web(settings: Settings, app: Flask) -> Iterator[int]:
    """The port of the product's web server, started as in production."""
    port = free_port()
    env = environment_of(settings, app) | {"PORT": str(port), "PUBLIC_URL": f"http://localhost:{port}"}
    with started("-m", "gunicorn", "--config", "python:portal.server", env=env, stdout=DEVNULL) as process:
        until(lambda: answers(port, "/healthz") or process.poll() is not None)
        assert process.poll() is None, "it did not start"
        yield port


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
