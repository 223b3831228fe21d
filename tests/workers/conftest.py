"""One Valkey for all of these tests, emptied for each, and real worker processes on it."""

from __future__ import annotations

import atexit
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from redis import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from app import create_app
from portal.config import Settings
from portal.db import db
from portal.embedded import Server, start_valkey
from portal.infra import jobs
from tests.conftest import scratch
from tests.installation import DEAF
from tests.processes import environment_of, started, until

_numbers = count(1)


class Yard:
    """A database of a Valkey, its workers, and the file to which their jobs write notes."""

    def __init__(self, directory: Path, valkey: Server, database: int = 0) -> None:
        self.directory = directory
        self.notes_file = directory / "notes"
        self.valkey = valkey
        self.redis_url = valkey.settings["redis_url"].replace("db=0", f"db={database}")
        self.redis = Redis.from_url(self.redis_url)
        self.programs: list[subprocess.Popen[str]] = []
        self._running = ExitStack()

    def queue(self, name: str = "network") -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    def enqueue(self, function: str, *args: Any, queue: str = "network", **options: Any) -> Job:
        options = {"retry": Retry(max=3, interval=[0, 0, 0]), "timeout": 60} | options
        name = function if "." in function else f"tests.workers.sample_jobs.{function}"
        args = args if "." in function else (str(self.notes_file), *args)
        return self.queue(queue).enqueue_call(name, args=args, **options)

    def run(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start a Python program, which ends with the yard; its output is in `log()`."""
        ours = {
            "DATA_DIR": str(self.directory),
            "REDIS_URL": self.redis_url,
            "S3_ENDPOINT_URL": "http://127.0.0.1:9",  # unused: nothing listens on these ports
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        with self._log.open("ab") as log:
            self.programs.append(self._running.enter_context(started(*command, env=ours | env, stdout=log)))
        return self.programs[-1]

    def worker(self, *command: str, queue: str = "network") -> subprocess.Popen[str]:
        """Start a worker, or what `command` says, and wait until another one is registered."""
        before = self.known(queue)
        process = self.run(*(command or ("-m", "tests.workers.entry", queue)))
        until(lambda: self.known(queue) - before or process.poll() is not None)
        assert process.poll() is None, self.log()
        return process

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def log(self) -> str:
        """The output of all programs."""
        return self._log.read_text() if self._log.exists() else ""

    def known(self, queue: str = "network") -> set[Any]:
        """The registered workers, as readyz sees them."""
        return {key for key in self.redis.smembers(f"rq:workers:{queue}") if self.redis.exists(key)}

    def notes(self, word: str = "") -> list[tuple[str, int, float]]:
        """The jobs' notes: word, process, time."""
        text = self.notes_file.read_text() if self.notes_file.exists() else ""
        rows = [line.rsplit(" ", 2) for line in text.splitlines()]
        return [(said, int(pid), float(at)) for said, pid, at in rows if not word or said == word]

    def open_gate(self) -> None:
        """Let the jobs that `hold` continue."""
        Path(f"{self.notes_file}.gate").touch()

    def status(self, job: Job) -> str:
        return Job.fetch(job.id, connection=self.redis, serializer=JSONSerializer).get_status().value

    @contextmanager
    def without_redis(self) -> Iterator[list[str]]:
        """Kill Valkey, and restart it after the block; yields the calls that arrived meanwhile, each hung up on."""
        calls: list[str] = []

        class HangUp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                calls.append("a call")

        self.valkey.process.kill()
        self.valkey.process.wait(timeout=30)
        path = self.directory / "valkey" / "valkey.sock"
        path.unlink(missing_ok=True)
        try:
            with socketserver.UnixStreamServer(str(path), HangUp) as nobody:
                thread = threading.Thread(target=nobody.serve_forever, args=(0.02,), daemon=True)
                thread.start()
                try:
                    yield calls
                finally:
                    nobody.shutdown()
                    thread.join(timeout=30)
        finally:
            path.unlink(missing_ok=True)
            self.valkey = start_valkey(self.directory / "valkey")

    def close(self) -> None:
        self._running.close()
        self.redis.close()


@contextmanager
def pool(settings: Settings, app: Flask, *queues: str, **others: str) -> Iterator[subprocess.Popen[str]]:
    """The real workers on the tests' servers; `others` are additional settings."""
    env = environment_of(settings, app)
    with started("-m", "workers.pool", *queues, env=env | others, stdout=None) as process:
        yield process
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="package")
def valkey() -> Iterator[Server]:
    directory = scratch("yards-")
    server = start_valkey(directory)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@cache
def _empty_database() -> Path:
    """Return the file of a database with all tables and no rows: workers refuse one without tables."""
    directory = scratch("tables-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    with create_app(Settings(data_dir=directory, database_url=f"sqlite:///{directory / 'empty.db'}")).app_context():
        upgrade()
        db.session.remove()
        db.engine.dispose()
    return directory / "empty.db"


@contextmanager
def laid_out(valkey: Server | None, database: int = 0) -> Iterator[Yard]:
    """An empty yard, with a private Valkey if it is given none."""
    directory = scratch("yard-")
    shutil.copy(_empty_database(), directory / "frontage.db")
    try:
        made = Yard(directory, valkey or start_valkey(directory / "valkey"), database)
        try:
            made.redis.flushdb()
            yield made
        finally:
            made.close()
            if not valkey:
                made.valkey.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def yard(valkey: Server) -> Iterator[Yard]:
    """A yard without workers."""
    with laid_out(valkey) as made:
        yield made


@pytest.fixture(scope="package")
def _busy(valkey: Server) -> Iterator[Yard]:
    with laid_out(valkey, database=1) as made:
        yield made


@pytest.fixture
def busy(_busy: Yard) -> Iterator[Yard]:
    """A yard with a pool of two workers, which may have run jobs of other tests before."""
    with at_work(_busy, "-m", "tests.workers.entry", "pool", "network", "network") as yard:
        yield yard


@pytest.fixture(scope="package")
def _mortal() -> Iterator[Yard]:
    with laid_out(None) as made:
        yield made


@pytest.fixture
def mortal(_mortal: Yard) -> Iterator[Yard]:
    """A yard with one worker, and with a private Valkey that may be killed."""
    with at_work(_mortal, "-m", "tests.workers.entry", "network") as yard:
        yield yard


@contextmanager
def at_work(yard: Yard, *command: str) -> Iterator[Yard]:
    """The yard with a running program, the last test's if it left one, and an empty file of notes.

    A failing test is reported with what the program wrote meanwhile, and leaves no job that holds a worker.
    """
    yard.notes_file = yard.directory / f"notes-{next(_numbers)}"
    before = len(yard.log())
    if not yard.programs or yard.programs[-1].poll() is not None:
        yard.worker(*DEAF, *command)
    count = command.count("network")
    until(lambda: len(yard.known()) >= count or yard.programs[-1].poll() is not None)
    assert yard.programs[-1].poll() is None, yard.log()
    yield yard
    yard.open_gate()
    print(yard.log()[before:])


@pytest.fixture
def jobs_of() -> Iterator[Callable[[Yard], None]]:
    """Make `portal.infra.jobs` enqueue in a yard, until the test is over."""
    with Flask("yard").app_context():
        yield lambda yard: jobs.connect(Settings(redis_url=yard.redis_url))
