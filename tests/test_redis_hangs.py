"""A Valkey that hangs (stopped with SIGSTOP: it accepts requests and answers nothing) delays nobody twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from redis import RedisError
from sqlalchemy import select, update

from portal import config
from portal.db import db, now
from portal.images import variants
from portal.images.models import Image, Property
from portal.images.variants import lifecycle
from portal.infra import jobs
from portal.infra.redis_client import breaker
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.processes import until


@dataclass
class Hang:
    """How often Valkey was asked in vain, known afterwards: each time a caller waited for a time-out."""

    asked: int = -1


Hanging = Callable[[], AbstractContextManager[Hang]]


@pytest.fixture
def hanging(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Stop the tests' Valkey while a block runs. The probe that checks whether it is back comes only after that."""
    pid = jobs.connection().info("server")["process_id"]

    @contextmanager
    def block() -> Iterator[Hang]:
        hang, before = Hang(), commands()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield hang
        finally:
            os.kill(pid, signal.SIGCONT)
        hang.asked = commands() - before

    monkeypatch.setattr(breaker, "open_for_s", 600)
    config.parts()["inbound_counters"].memory.reset()
    yield block
    breaker.close()


def commands() -> int:
    """Number of commands that Valkey got, those during the hang included; without those of scripts, and this one."""
    jobs.connection().ping()  # everything before it is done after it
    found = jobs.connection().info("commandstats")
    within = ("incr", "expire", "pttl", "ping", "info")
    return sum(stats["calls"] for name, stats in found.items() if name.removeprefix("cmdstat_") not in within)


def answers() -> bool:
    """Whether it would be asked again: not before the pause is over."""
    try:
        jobs.missing([jobs.tidy()])
    except RedisError:
        return False
    return True


def test_calls_that_need_no_redis_go_on(
    alice: Person, home: Property, hanging: Hanging, at_once: Callable[..., list[Any]]
) -> None:
    assert alice.api("GET", "/api/v1/usage").status_code == 200
    path = f"/api/v1/properties/{home.uuid}/images"

    def ask() -> set[int]:
        return {alice.api("GET", path).status_code for _ in range(5)}

    with hanging() as hang:
        assert at_once(ask, *[()] * 8) == [{200}] * 8
    assert 1 <= hang.asked <= 8, "nobody waits twice"


def test_a_change_with_many_jobs_waits_once_and_they_are_enqueued_later(
    alice: Person, home: Property, hanging: Hanging, work_off: Callable[[], int]
) -> None:
    arrived = [factories.uploaded(home, factories.jpeg(32, 24, (n, 9, 9))) for n in range(8)]
    files = [{"r2Key": one.key, "contentType": one.content_type, "sizeBytes": one.size_bytes} for one in arrived]
    path = f"/api/v1/properties/{home.uuid}/images/confirm-batch"
    with hanging() as hang:
        response = alice.api("POST", path, json={"images": files})
    assert response.status_code == 201, response.text
    assert hang.asked == 1
    breaker.close()
    with work():
        waiting = update(Image).where(Image.variants == "pending")
        db.session.execute(waiting.values(pending_since=now() - lifecycle.LATE_AFTER))
    assert variants.enqueue_missing() == 8
    work_off()
    assert {image.variants for image in db.session.scalars(select(Image))} == {"ready"}


def test_rate_limits_hold_meanwhile_and_are_counted_in_redis_again_afterwards(
    alice: Person, app: Flask, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "5 per minute")

    def codes() -> list[int]:
        return [alice.api("GET", "/api/v1/usage").status_code for _ in range(6)]

    with hanging():
        monkeypatch.setattr(breaker, "open_for_s", 0.2)
        assert codes() == [200] * 5 + [429]
    until(answers)
    assert codes() == [200] * 5 + [429]
    assert list(jobs.connection().scan_iter("LIMITS*"))
