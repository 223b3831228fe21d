"""A Valkey of its own for each test, and real worker processes on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from portal.config import Settings
from portal.embedded import Server, start_valkey
from portal.processes import tied_to_us
from tests.conftest import scratch
from tests.processes import until

ROOT = Path(__file__).parents[2]


class Yard:
    """A Valkey, the workers on it, and the file in which their errands are noted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.notes_file = directory / "notes"
        self.valkey: Server = start_valkey(directory / "valkey")
        self.redis = Redis.from_url(self.valkey.settings["redis_url"])
        self.workers: list[subprocess.Popen[str]] = []

    def queue(self, name: str = "network") -> Queue:
        return Queue(name, connection=self.redis, serializer=JSONSerializer)

    def enqueue(self, errand: str, *args: Any, queue: str = "network", **options: Any) -> Job:
        options.setdefault("retry", Retry(max=3, interval=[0, 0, 0]))
        name = errand if "." in errand else f"tests.workers.errands.{errand}"
        args = args if "." in errand else (str(self.notes_file), *args)
        return self.queue(queue).enqueue_call(name, args=args, timeout=60, **options)

    def env(self) -> dict[str, str]:
        return os.environ | {
            "DATA_DIR": str(self.directory),
            "REDIS_URL": self.valkey.settings["redis_url"],
            "S3_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody listens there, and nobody asks
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def run(self, *command: str) -> subprocess.Popen[str]:
        """Start a Python program tied to us."""
        process = subprocess.Popen(
            tied_to_us([sys.executable, *command]),
            cwd=ROOT,
            env=self.env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.workers.append(process)
        return process

    def worker(self, queue: str = "network") -> subprocess.Popen[str]:
        """Start a worker and wait until it is known."""
        before = self.known(queue)
        process = self.run("-m", "tests.workers.entry", queue)
        until(lambda: self.known(queue) - before or process.poll() is not None, within_s=20)
        assert process.poll() is None, process.communicate()[0]
        return process

    def known(self, queue: str = "network") -> set[Any]:
        """The workers that readyz would see."""
        return {key for key in self.redis.smembers(f"rq:workers:{queue}") if self.redis.exists(key)}

    def notes(self, word: str = "") -> list[tuple[str, int, float]]:
        """What the errands noted: word, process, moment."""
        text = self.notes_file.read_text() if self.notes_file.exists() else ""
        rows = [line.rsplit(" ", 2) for line in text.splitlines()]
        return [(said, int(pid), float(at)) for said, pid, at in rows if not word or said == word]

    def status(self, job: Job) -> str:
        return Job.fetch(job.id, connection=self.redis, serializer=JSONSerializer).get_status().value

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.communicate()
        self.redis.close()
        self.valkey.stop()


@contextmanager
def pool(settings: Settings, app: Flask, *queues: str, **others: str) -> Iterator[subprocess.Popen[bytes]]:
    """The real workers on the tests' servers; `others` are settings of theirs."""
    env = {
        "DATA_DIR": str(settings.data_dir),
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"],
        "REDIS_URL": settings.redis_url or "",
        "S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "AWS_ACCESS_KEY_ID": settings.s3_access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key or "",
        "ALLOWED_PRIVATE_NETS": "127.0.0.0/8",
    }
    command = tied_to_us([sys.executable, "-m", "workers.pool", *queues])
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env | others)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def yard() -> Iterator[Yard]:
    directory = scratch("yard-")
    made = Yard(directory)
    yield made
    made.close()
    shutil.rmtree(directory, ignore_errors=True)
