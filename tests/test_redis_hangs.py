"""A Valkey that hangs (stopped with SIGSTOP: it takes what is sent and answers nothing) holds up nobody twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from flask import Flask
from redis import RedisError
from sqlalchemy import select, update

from portal import jobs
from portal.db import db, now
from portal.images import variants
from portal.images.models import Image, Property
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.processes import until

Hanging = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def hanging(app: Flask) -> Iterator[Hanging]:
    """Stop the tests' Valkey for as long as a block runs."""
    pid = jobs.connection().info("server")["process_id"]

    @contextmanager
    def block() -> Iterator[None]:
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    app.extensions["rate_limits"].memory.reset()
    yield block
    until(answers, within_s=10)


def answers() -> bool:
    """Whether it would be rung again: not before the pause is over."""
    try:
        jobs.lost([jobs.tidy()])
    except RedisError:
        return False
    return True


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def test_calls_that_need_no_redis_go_on(
    alice: Person, home: Property, hanging: Hanging, at_once: Callable[..., list[Any]]
) -> None:
    assert alice.api("GET", "/api/v1/usage").status_code == 200
    path = f"/api/v1/properties/{home.uuid}/images"
    took: list[float] = []

    def ask_for(seconds: float) -> set[int]:
        codes, end = set(), time.monotonic() + seconds
        while time.monotonic() < end:
            response, took_s = timed(lambda: alice.api("GET", path))
            codes.add(response.status_code)
            took.append(took_s)
            time.sleep(0.1)
        return codes

    with hanging():
        codes = at_once(ask_for, *[(6,)] * 8)
    assert codes == [{200}] * 8
    took.sort()
    p99 = took[int(len(took) * 0.99)]
    said = f"median {took[len(took) // 2]:.3f} s, p99 {p99:.2f} s, longest {took[-1]:.2f} s"
    print(f"\n{len(took)} calls: {said}; {sum(one > 0.9 for one in took)} waited")
    assert p99 <= 2
    assert took[-1] < 1.9, "nobody waits twice"


def test_i9_a_change_that_rings_for_many_waits_once_and_is_rung_for_later(
    alice: Person, home: Property, hanging: Hanging, work_off: Callable[[], int]
) -> None:
    def confirm() -> float:
        arrived = [factories.uploaded(home, factories.jpeg(32, 24, (n, 9, 9))) for n in range(8)]
        files = [{"r2Key": one.key, "contentType": one.content_type, "sizeBytes": one.size_bytes} for one in arrived]
        path = f"/api/v1/properties/{home.uuid}/images/confirm-batch"
        response, took_s = timed(lambda: alice.api("POST", path, json={"images": files}))
        assert response.status_code == 201, response.text
        return took_s

    usual_s = confirm()
    work_off()
    with hanging():
        took_s = confirm()
    print(f"\nconfirm-batch of 8: {took_s:.2f} s, else {usual_s:.2f} s")
    assert took_s - usual_s < 1.5
    until(answers, within_s=10)
    with work():
        waiting = update(Image).where(Image.variants == "pending")
        db.session.execute(waiting.values(pending_since=now() - variants.WAITS_TOO_LONG))
    assert variants.ring_again() == 8
    work_off()
    assert {image.variants for image in db.session.scalars(select(Image))} == {"ready"}


def test_h2_the_limit_holds_meanwhile_and_is_counted_in_redis_again_after(
    alice: Person, app: Flask, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "5 per minute")

    def codes() -> list[int]:
        return [alice.api("GET", "/api/v1/usage").status_code for _ in range(6)]

    with hanging():
        assert codes() == [200] * 5 + [429]
    until(answers, within_s=10)
    assert codes() == [200] * 5 + [429]
    assert list(jobs.connection().scan_iter("LIMITS*"))
