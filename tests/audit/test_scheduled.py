"""The nightly audit: in short runs, once a day, every byte within AUDIT_DAYS, repairs included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from portal import config
from portal.audit import run, scheduled, walk
from portal.audit.lease import Options, leased
from portal.audit.models import AuditWalk
from portal.db import db, now
from portal.images.models import Property
from portal.infra import jobs
from portal.inventory import LARGE, THUMB, StoredObject
from portal.work import work
from tests.audit import rubble
from tests.audit.rubble import Gallery


@pytest.fixture
def gallery(home: Property, work_off: Callable[[], int]) -> Gallery:
    made = rubble.gallery(home)
    jobs.connection().flushall()
    return made


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MAX_PAUSE_S", 0)


def walks() -> list[AuditWalk]:
    db.session.rollback()
    return list(db.session.scalars(select(AuditWalk).order_by(AuditWalk.id)))


def days_pass(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    for module in (walk, scheduled):
        monkeypatch.setattr(module, "now", lambda: now() + timedelta(days=days))


def test_every_head_is_compared_nightly_and_what_is_wrong_is_repaired(
    gallery: Gallery, work_off: Callable[[], int]
) -> None:
    rubble.delete(*gallery.objects[THUMB])
    jobs.enqueue(jobs.audit())
    work_off()
    (done,) = walks()
    assert done.finished_at
    assert (done.is_scheduled, done.checked) == (True, 8)
    assert [each[5:7] for each in rubble.found(done)] == [(True, "from_original")]
    jobs.enqueue(jobs.audit())
    work_off()
    assert len(walks()) == 1, "once a day"


def test_every_byte_is_compared_within_the_days(gallery: Gallery, monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    config.use(replace(config.settings(), audit_days=4))
    for day in range(4):
        days_pass(monkeypatch, day)
        scheduled.run()
    counts = [each.verified for each in walks()]
    assert len(counts) == 4
    assert sum(counts) == 8
    unread = select(func.count()).where(StoredObject.verified_at.is_(None))
    assert db.session.scalar(unread.select_from(StoredObject)) == 0


def test_what_a_missed_night_left_is_read_when_it_is_due(gallery: Gallery) -> None:
    with work():
        db.session.execute(update(StoredObject).values(stored_at=now() - timedelta(days=31)))
    scheduled.run()
    (done,) = walks()
    assert done.verified == 8


def test_a_run_is_short_and_the_next_one_goes_on(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch, work_off: Callable[[], int]
) -> None:
    rubble.delete(*gallery.objects[LARGE])
    monkeypatch.setattr(walk, "CHUNK", 3)
    monkeypatch.setattr(scheduled, "RUN_FOR_S", 0)
    jobs.enqueue(jobs.audit())
    assert work_off() == 6, "the originals, twice three other objects, a repair, that none is left, the end"
    (done,) = walks()
    assert (done.checked, done.phase) == (8, "done")
    assert rubble.right(gallery, LARGE)


def test_it_waits_for_the_command(gallery: Gallery) -> None:
    with leased(Options()):
        scheduled.run()
    assert [each.is_scheduled for each in walks()] == [False]


def test_zero_days_switch_it_off(gallery: Gallery) -> None:
    config.use(replace(config.settings(), audit_days=0))
    scheduled.run()
    assert walks() == []


def test_a_scheduled_walk_uses_a_fifth_of_the_buckets_time(monkeypatch: pytest.MonkeyPatch, gallery: Gallery) -> None:
    slept: list[float] = []
    monkeypatch.setattr(run, "MAX_PAUSE_S", 10)
    monkeypatch.setattr(run.time, "sleep", slept.append)
    with work():
        db.session.execute(update(StoredObject).values(stored_at=now() - timedelta(days=31)))
    with leased(scheduled.OPTIONS, is_scheduled=True) as lease:
        this = run.Run(lease)
        walk.advance(this)
    assert sum(slept) >= 4 * this.meter.seconds * 0.99
