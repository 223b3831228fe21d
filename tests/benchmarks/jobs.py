"""Jobs per second through one real worker process, compared with the same work in this process.

    python -m tests.benchmarks.jobs [PHOTO …]

Each photo is confirmed, enqueued, fetched, rendered, stored and recorded, with the embedded Valkey, SeaweedFS and
SQLite. The overhead of a job is what the worker takes beyond the same function called here; neither the start of the
worker nor the first photo of either is counted."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flask_migrate import upgrade
from sqlalchemy import func, select

from app import create_app
from portal.accounts import access
from portal.config import Settings
from portal.db import db
from portal.embedded import start_seaweedfs, start_valkey
from portal.images import variants
from portal.images.models import Image, Property
from portal.infra import jobs, storage
from portal.infra.processes import tied_to_us
from portal.work import work
from tests import factories
from tests.processes import ROOT, kill, until

ROUNDS = 20


def main(paths: list[str]) -> None:
    """Measure both ways alternately; print medians and their ratio."""
    photos = [Path(path).read_bytes() for path in paths] or [factories.jpeg(4032, 3024)]
    with tempfile.TemporaryDirectory(prefix="frontage-") as name:
        directory = Path(name)
        valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
        database = f"sqlite:///{directory / 'bench.db'}"
        app = create_app(
            Settings(data_dir=directory, secret_key="x" * 40, database_url=database, **valkey.settings, **s3.settings)
        )
        with app.app_context():
            upgrade()
            storage.uploads.prepare()
            storage.cdn.prepare()
            home = factories.home_of(access.create_workspace("Bench", "pro"))
            images = [factories.photo_in(home, photos[n % len(photos)]).id for n in range(ROUNDS)]
            jobs.connection().flushall()
            here = [_here(image_id) for image_id in images[:1] + images][1:]
            there, latencies = _there(home, images, _environment(directory, database, valkey.settings | s3.settings))
        valkey.stop()
        s3.stop()
    print(f"{ROUNDS} photos; seconds a photo, wall and CPU")
    print(f"  in process      {statistics.median(w for w, _ in here):.3f}  {statistics.median(c for _, c in here):.3f}")
    print(f"  one worker      {there[0]:.3f}  {there[1]:.3f}   ({1 / there[0]:.1f} jobs a second)")
    print(f"  worker : in process, CPU      {there[1] / statistics.median(c for _, c in here):.2f}")
    latencies.sort()
    middle, last = statistics.median(latencies), latencies[-1]
    print(f"  enqueued → both variants, idle worker: median {middle:.2f} s, slowest {last:.2f} s")


def _here(image_id: int) -> tuple[float, float]:
    _renew([image_id])
    wall, cpu = time.perf_counter(), time.process_time()
    variants.make(image_id)
    return time.perf_counter() - wall, time.process_time() - cpu


def _there(home: Property, images: list[int], env: dict[str, str]) -> tuple[tuple[float, float], list[float]]:
    worker = subprocess.Popen(tied_to_us([sys.executable, "-m", "workers", "pixels"]), cwd=ROOT, env=env)
    try:
        until(jobs.workers)
        _latency(images[0])
        _renew(images)
        used = _cpu_s(worker.pid)
        began = time.perf_counter()
        for image_id in images:
            jobs.enqueue(jobs.make_variants(image_id))
        until(lambda: not _pending(), within_s=600)
        wall, cpu = time.perf_counter() - began, _cpu_s(worker.pid) - used
        latencies = [_latency(image_id) for image_id in images]
        return (wall / len(images), cpu / len(images)), latencies
    finally:
        kill(worker)


def _latency(image_id: int) -> float:
    _renew([image_id])
    began = time.perf_counter()
    jobs.enqueue(jobs.make_variants(image_id))
    until(lambda: not _pending(), within_s=60, every_s=0.005)
    return time.perf_counter() - began


def _renew(image_ids: list[int]) -> None:
    with work():
        for image in db.session.scalars(select(Image).where(Image.id.in_(image_ids))):
            image.variants, image.attempts = "pending", 0


def _pending() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(Image.variants == "pending")) or 0


def _cpu_s(pid: int) -> float:
    """User and system seconds of a process and the children it has waited for (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _environment(directory: Path, database: str, known: dict[str, str]) -> dict[str, str]:
    return os.environ | {
        "DATA_DIR": str(directory),
        "SECRET_KEY": "x" * 40,
        "DATABASE_URL": database,
        "REDIS_URL": known["redis_url"],
        "S3_ENDPOINT_URL": known["s3_endpoint_url"],
        "AWS_ACCESS_KEY_ID": known["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": known["s3_secret_key"],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
