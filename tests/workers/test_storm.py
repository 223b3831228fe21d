"""A storm of kill -9: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask
from rq import Retry
from rq.job import Job
from sqlalchemy import select, update

from portal.config import Settings
from portal.db import db, now
from portal.images import imports
from portal.images.models import Image, ImportItem, ImportJob, Property
from portal.infra import jobs
from portal.work import work
from tests import factories
from tests.buckets import collect_orphans
from tests.factories import Person
from tests.outside import Reply, Seen, outside
from tests.processes import descendants, parent_of, until
from tests.workers.conftest import Yard, pool

KILLS, WORKERS, WAITING = 100, 4, 2
PHOTOS, KILLS_OF_PHOTOS = 60, 20

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]


def test_in_a_storm_of_100_kills_no_job_is_lost_or_runs_twice_at_a_time(yard: Yard) -> None:
    yard.run("-m", "tests.workers.entry", "pool", *["network"] * WORKERS, AS_OURS="1")
    until(lambda: len(yard.known()) == WORKERS)
    enqueued: list[Job] = []
    chance = random.Random(2)
    victims: dict[str, list[float]] = {}

    def some_run() -> bool:
        while yard.queue().count < WAITING:  # never a long queue: recovery is what is measured
            retry = Retry(max=50, interval=[0])
            enqueued.append(yard.enqueue("slow", 5, f"#{len(enqueued)}", retry=retry))
        return bool(_running(yard))

    for _ in range(KILLS):
        until(some_run)
        time.sleep(chance.uniform(0.3, 1.2))
        while not (running := sorted(_running(yard).items())):
            until(some_run)
        number, horse = chance.choice(running)
        _kill(yard, horse, chance.choice(["horse", "worker", "both"]))
        victims.setdefault(number, []).append(time.monotonic())
    until(lambda: all(yard.status(job) == "finished" for job in enqueued), within_s=120)
    _demand_no_overlap(yard, len(enqueued))
    recovery_s = sorted(_recovery(yard, number, at) for number, moments in victims.items() for at in moments)
    print(f"\n{len(recovery_s)} kills; again after {recovery_s[len(recovery_s) // 2]:.1f} s (median), ", end="")
    print(f"{recovery_s[-2]:.1f} s (p99), {recovery_s[-1]:.1f} s (longest)")


def test_of_60_photos_in_a_storm_with_a_flushall_none_is_lost(
    app: Flask, alice: Person, buckets: Any, settings: Settings
) -> None:
    homes = [factories.home_of(alice.workspace, f"House {n}") for n in range(PHOTOS // 20)]
    images = [factories.photo_in(home, factories.jpeg(2400, 1800)) for home in homes for _ in range(20)]
    with pool(settings, app, "pixels", "pixels", "schedule") as workers:
        chance = random.Random(3)
        until(lambda: _ready(app) > PHOTOS // 10)
        for n in range(KILLS_OF_PHOTOS):
            time.sleep(chance.uniform(0.1, 0.4))
            until(lambda: descendants(workers.pid))
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice([*descendants(workers.pid)]), signal.SIGKILL)
            if n == KILLS_OF_PHOTOS // 2:
                jobs.connection().flushall()
        until(lambda: _ready(app) == PHOTOS, within_s=120)
    db.session.rollback()
    named = {key for image in images for key in (image.large_key, image.thumb_key)}
    there = {key for bucket, key in buckets.listing() if bucket == settings.s3_cdn_bucket}
    assert named <= there
    collect_orphans()
    assert {key for bucket, key in buckets.listing() if bucket == settings.s3_cdn_bucket} == named


def test_an_import_whose_worker_is_killed_five_times_has_twenty_results_and_no_duplicate(
    app: Flask, home: Property, buckets: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RETRY_INTERVALS_S", [0] * 6)  # RQ waits 60 s after a fourth death

    def photo(seen: Seen) -> Reply:
        n = int("".join(c for c in seen.path if c.isdigit()))
        return Reply(body=factories.jpeg(64, 48, (n * 11, n * 7, 90)), after_s=0.5)

    with outside(photo) as host, pool(settings, app, "network", "schedule") as workers:
        job = imports.start(home, [f"{host.url}/{n}.jpg" for n in range(20)])
        for kills in range(1, 6):
            until(lambda: _fetching(app))
            time.sleep(0.2 * kills)  # at another moment each time
            _kill_workers(workers)
            _let_leases_run_out()
        until(lambda: _is_over(job), within_s=120)
    done = imports.progress(job, imports.items(job))
    images = list(db.session.scalars(select(Image)))
    print(f"\n5 kills, {len(host.seen)} requests for 20 links")
    assert (done.status, done.imported, done.failed) == ("completed", 20, 0)
    assert len({image.sha256 for image in images}) == len(images) == 20
    assert imports.budget(home.workspace).used == 20
    collect_orphans()
    kept = {key for image in images for key in (image.original_key, image.large_key, image.thumb_key) if key}
    assert {key for _, key in buckets.listing()} == kept


def _fetching(app: Flask) -> bool:
    db.session.rollback()
    return db.session.query(ImportItem).filter(ImportItem.fetching_until > now()).count() > 0


def _is_over(job: ImportJob) -> bool:
    db.session.rollback()
    return job.completed_at is not None


def _kill_workers(workers: subprocess.Popen[str]) -> None:
    """The workers of both queues, and their horses."""
    for pid in descendants(workers.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _let_leases_run_out() -> None:
    with work():
        busy = update(ImportItem).where(ImportItem.fetching_until.is_not(None))
        db.session.execute(busy.values(fetching_until=now() - timedelta(seconds=1), next_at=now()))


def _ready(app: Flask) -> int:
    db.session.rollback()
    return db.session.query(Image).filter_by(variants="ready").count()


def _running(yard: Yard) -> dict[str, int]:
    """Number of the job → the horse that runs it now."""
    last = {word.split("#")[1]: (word, pid) for word, pid, _ in yard.notes()}
    return {number: pid for number, (word, pid) in last.items() if word.startswith("begin") and _is_there(pid)}


def _kill(yard: Yard, horse: int, whom: str) -> None:
    (workers,) = yard.programs
    with suppress(ProcessLookupError, ValueError):  # it ended in this very moment
        worker = parent_of(horse)
        if whom != "worker":
            os.kill(horse, signal.SIGKILL)
        if whom != "horse" and worker in descendants(workers.pid):
            os.kill(worker, signal.SIGKILL)


def _demand_no_overlap(yard: Yard, jobs: int) -> None:
    """Assert that no run of a job begins before the last one ended or was killed, and no killed run ends later."""
    for n in range(jobs):
        runs = [(word, pid) for word, pid, _ in yard.notes() if word.endswith(f"#{n}")]
        for (word, pid), (_, next_pid) in pairwise(runs):
            assert word.startswith("end") or pid == next_pid or (f"end#{n}", pid) not in runs[1:]


def _recovery(yard: Yard, number: str, killed_at: float) -> float:
    """Seconds from the kill to the next run; 0 if the job had just ended."""
    begins = [at for word, _, at in yard.notes() if word == f"begin#{number}" and at > killed_at]
    return min(begins) - killed_at if begins else 0.0


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
