"""Workers are killed during a first sync, Redis is flushed, S3 fails: the result is the same as without.

A few kills by default; more among more listings, and three with leases that expire in real time, in the storm."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from portal.config import Settings
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from portal.listings import integrations
from portal.listings.models import IntegrationAccount, ListingImage
from portal.work import work
from tests.buckets import collect_orphans
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import Front, bucket_behind_a_proxy
from tests.listings import stays
from tests.processes import descendants, parent_of, until
from tests.workers.conftest import pool

QUEUES = (jobs.SYNC, jobs.CDN, jobs.CDN, jobs.SCHEDULE)


@dataclass(frozen=True)
class Storm:
    """The number of listings, and what happens to the workers."""

    listings: int
    kills: int
    away_s: float  # how long S3 answers 503
    pause_s: float  # the longest time that a worker may work before it is killed
    is_in_real_time: bool  # leases and pauses expire in real time
    within_s: float = 60


SMALL = Storm(listings=10, kills=6, away_s=2, pause_s=0.2, is_in_real_time=False)
WHOLE = Storm(listings=60, kills=12, away_s=5, pause_s=0.5, is_in_real_time=False, within_s=300)
REAL_TIME = Storm(listings=20, kills=3, away_s=10, pause_s=1, is_in_real_time=True, within_s=400)

pytestmark = [pytest.mark.storm, pytest.mark.timeout(900)]


@pytest.fixture
def pms(storm: Storm) -> Iterator[FakeHostaway]:
    with FakeHostaway(listings=storm.listings, pictures=20) as pms:
        yield pms


@pytest.mark.parametrize(
    ("storm", "database"),
    [(storm, database) for storm in (SMALL, WHOLE) for database in BOTH] + [(REAL_TIME, BOTH[1])],
    ids=lambda value: value if isinstance(value, str) else f"{value.kills} kills",
    indirect=["database"],
)
def test_a_first_sync_in_a_storm_ends_as_without(
    app: Flask, settings: Settings, alice: Person, pms: FakeHostaway, storm: Storm
) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
    wanted = storm.listings * 21
    with bucket_behind_a_proxy() as front:
        with pool(settings, app, *QUEUES, S3_ENDPOINT_URL=front.url) as workers:
            rage(workers.pid, front, storm)
            done = lambda: copied() == wanted and has_ended(account)  # noqa: E731
            if not storm.is_in_real_time:
                kill(descendants(workers.pid))
                stays.all_at_once()
                hurry(retries=True)
            until(done, storm.within_s)
        collect_orphans()
    assert (account.error, account.failures) == (None, 0)
    stays.assert_copied(pms, alice.workspace)


def rage(pool_id: int, front: Front, storm: Storm) -> None:
    """Kill busy workers repeatedly; flush Redis and take S3 away in between."""
    chance = random.Random(5)
    back = threading.Timer(storm.away_s, setattr, (front, "answer", lambda _: None))
    back.daemon = True
    for n in range(storm.kills):
        horse = at_work(pool_id)
        if n == storm.kills // 3:
            front.answer = lambda _: 503
            back.start()
        if n == storm.kills // 2:
            jobs.connection().flushall()
        time.sleep(chance.uniform(0, storm.pause_s))
        with suppress(ValueError):  # it ended in this very moment
            kill(chance.choice([[horse], [parent_of(horse)], [horse, parent_of(horse)]]))
        if not storm.is_in_real_time:
            hurry(retries=not back.is_alive())
    back.join(timeout=2 * storm.away_s)


def hurry(*, retries: bool) -> None:
    """Expire leases, and whatever waits for the sweep, a retry or the end of a lease.

    While S3 is away, `retries` stay: five of them take hours, after which a picture has failed for good."""
    stays.let_leases_run_out()
    if retries:
        with work():
            waiting = update(ListingImage).where(ListingImage.key.is_(None), ListingImage.next_at.is_not(None))
            db.session.execute(waiting.values(next_at=now()))
    for job in (jobs.sync_listings(), jobs.image_cdn_upload()):
        jobs.enqueue(job)


def at_work(pool_id: int) -> int:
    """Wait for a work-horse with a longer job; return its process id."""
    before: set[int] = set()
    busy: list[int] = []

    def is_one() -> bool:
        horses = set(horses_of(pool_id))
        busy.extend(before & horses)
        before.clear()
        before.update(horses)
        return bool(busy)

    until(is_one, within_s=150)  # RQ waits 60 s after a fourth death, a page's lease lasts 120 s
    return busy[0]


def horses_of(pool_id: int) -> Iterator[int]:
    """The grandchildren of a pool: its children are the workers."""
    for pid in descendants(pool_id):
        with suppress(ValueError):  # it ended in this very moment
            if parent_of(pid) != pool_id:
                yield pid


def kill(processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def copied() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(ListingImage.key.is_not(None))) or 0


def has_ended(account: IntegrationAccount) -> bool:
    return account.synced_at is not None and account.started_at is None
