"""The audit of many objects: python -m tests.benchmarks.audit [objects …], by default 10,000 and 100,000.

Each size is walked by processes of their own: once comparing the listings alone, once all bytes, and with some damage.
Prints seconds, requests to the bucket, and the process's peak of memory, which must not grow with the number of
objects. The objects are small: what counts here is what each one costs."""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask_migrate import upgrade
from sqlalchemy import insert, select

from app import create_app
from portal import installation, inventory
from portal.audit import report
from portal.audit.lease import Options, leased
from portal.audit.models import AuditWalk
from portal.audit.run import Run
from portal.audit.walk import advance
from portal.config import Settings, in_this_app
from portal.db import db
from portal.embedded import start_seaweedfs, start_valkey
from portal.infra import storage
from portal.inventory import LARGE, ORIGINAL, StoredObject
from portal.work import work
from tests.conftest import scratch

SIZE_BYTES, BATCH, DAMAGED = 2000, 2000, 50


def main(sizes: list[int]) -> None:
    directory = scratch("audit-")
    valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
    settings = Settings(
        data_dir=directory,
        secret_key="x" * 32,
        database_url=f"sqlite:///{directory / 'db'}",
        **valkey.settings,
        **s3.settings,
    )
    try:
        in_child(prepare, settings)
        before = 0
        for size in sizes:
            in_child(fill, settings, before, size)
            before = size
            in_child(walk, settings, "listings alone", 0)
            in_child(walk, settings, "all bytes", 100)
            in_child(harm, settings, size)
            in_child(walk, settings, f"{DAMAGED} objects deleted", 0)
    finally:
        valkey.stop()
        s3.stop(timeout_s=0.1)
        shutil.rmtree(directory, ignore_errors=True)


def in_child(function: Any, settings: Settings, *args: Any) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_run, args=(function, settings, args))
    child.start()
    child.join()
    assert child.exitcode == 0


def _run(function: Any, settings: Settings, args: tuple[Any, ...]) -> None:
    with create_app(settings).app_context():
        function(*args)


def prepare() -> None:
    upgrade()
    storage.uploads.prepare()
    storage.cdn.prepare()
    installation.check()


def fill(first: int, last: int) -> None:
    """Store objects, a third of them originals."""
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        for n in range(first, last, BATCH):
            written = list(pool.map(in_this_app(_put), range(n, min(n + BATCH, last))))
            with work():
                db.session.execute(insert(StoredObject), [each.values for each in written])
    print(f"{last:,} objects; storing took {time.monotonic() - began:.0f} s", flush=True)


def _put(number: int) -> inventory.Written:
    rng = random.Random(number)
    name = f"{rng.getrandbits(128):032x}"
    if number % 3 == 0:
        where, key, kind = storage.uploads, f"images/{number % 7}/{number % 300}/{name}.jpg", ORIGINAL
    else:
        where, key, kind = storage.cdn, f"properties/{number % 300}/{name}-lg.webp", LARGE
    return inventory.write(where, key, rng.randbytes(SIZE_BYTES), "image/webp", kind)


def harm(seed: int) -> None:
    keys = list(db.session.scalars(select(StoredObject.key).where(StoredObject.bucket == "cdn")))
    storage.cdn.delete(*random.Random(seed).sample(keys, DAMAGED))


def walk(title: str, sample: float) -> None:
    began = time.monotonic()
    with leased(Options(sample=sample)) as lease:
        assert advance(Run(lease))
    done = db.session.get_one(AuditWalk, lease.walk_id, populate_existing=True)
    took_s = time.monotonic() - began
    cpu_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime + resource.getrusage(resource.RUSAGE_SELF).ru_stime
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    requests = f"{done.list_requests:,} LIST, {done.head_requests:,} HEAD, {done.get_requests:,} GET"
    took = f"{took_s:7.1f} s ({cpu_s:.1f} s CPU)"
    print(f"  {title:20} {took}  {requests:40} peak {peak_mb:.0f} MB  left {report.left(done)}", flush=True)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
