"""Workers are killed in the midst of a first sync, Redis forgets, S3 fails: the end is the same as without.

A few kills here; with `-m slow` it is the whole of issue 5's line 3.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal import jobs, owners
from portal.config import Settings
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copying, integrations, sync
from portal.listings.models import IntegrationAccount, ListingImage
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import Front, bucket_behind_a_proxy
from tests.listings import stays
from tests.workers.conftest import descendants, pool, until

QUEUES = (jobs.SYNC, jobs.CDN, jobs.CDN, jobs.SCHEDULE)


@dataclass(frozen=True)
class Storm:
    """How many listings there are, and what becomes of those who work for them."""

    listings: int
    kills: int
    away_s: float  # how long S3 answers 503
    pause_s: float  # between two kills, on average
    is_patient: bool  # leases and pauses run out in their own time
    within_s: float = 60


SMALL = Storm(listings=6, kills=6, away_s=2, pause_s=0.3, is_patient=False)
WHOLE = Storm(listings=200, kills=50, away_s=60, pause_s=2, is_patient=True, within_s=1800)


@pytest.fixture
def pms(storm: Storm) -> Iterator[FakeHostaway]:
    with FakeHostaway(listings=storm.listings, pictures=20) as pms:
        yield pms


@pytest.mark.parametrize("database", BOTH, indirect=True)
@pytest.mark.parametrize("storm", [SMALL, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["small", "whole"])
def test_a_first_sync_in_a_storm_ends_as_without(
    app: Flask, settings: Settings, alice: Person, pms: FakeHostaway, storm: Storm
) -> None:
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
    wanted = storm.listings * 21
    began = time.monotonic()
    with bucket_behind_a_proxy() as front:
        with pool(settings, app, *QUEUES, S3_ENDPOINT_URL=front.url) as workers:
            rage(workers.pid, front, storm)
            done = lambda: copied() == wanted and has_ended(account)  # noqa: E731
            if not storm.is_patient:
                kill(descendants(workers.pid))
                stays.let_leases_run_out()
                stays.all_at_once()
                sync.ring_again()
                copying.ring_again()
            until(done, storm.within_s)
        took_s = time.monotonic() - began
        orphans = owners.collect_orphans(timedelta(seconds=-60))
    assert (account.error, account.failures) == (None, 0)
    stays.assert_copied(pms, alice.workspace)
    downloads = pms.count("/pictures/", 200)
    print(
        f"\n{storm.kills} kills, a FLUSHALL, {storm.away_s} s without S3 among {wanted} records: {took_s:.0f} s, ",
        end="",
    )
    print(f"{downloads} downloads of {storm.listings * 20} pictures, {len(orphans)} orphans collected")


def rage(pool_id: int, front: Front, storm: Storm) -> None:
    """Kill one process after the other; flush Redis and take S3 away in between."""
    chance = random.Random(5)
    until(lambda: copied() > 0, within_s=120)
    for n in range(storm.kills):
        time.sleep(chance.uniform(0, 2 * storm.pause_s))
        until(lambda: descendants(pool_id), within_s=30)
        kill([chance.choice([*descendants(pool_id)] or [0])])
        if n == storm.kills // 3:
            front.answer = lambda _: 503
            threading.Timer(storm.away_s, setattr, (front, "answer", lambda _: None)).start()
        if n == storm.kills // 2:
            jobs.connection().flushall()
    time.sleep(storm.away_s)


def kill(processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)


def copied() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(ListingImage.key.is_not(None))) or 0


def has_ended(account: IntegrationAccount) -> bool:
    return account.synced_at is not None and account.started_at is None
