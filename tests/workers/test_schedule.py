"""Periodic jobs, without anything in Redis to remember them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.infra import jobs
from tests.workers.conftest import Yard
from workers.schedule import SCHEDULE, Clock, Entry


@pytest.fixture
def queue(yard: Yard, jobs_of: Callable[[Yard], None]) -> Yard:
    jobs_of(yard)
    return yard


def test_a_due_job_is_enqueued_once(queue: Yard) -> None:
    clock = Clock((Entry(jobs.sweep(), every=timedelta(hours=1)),))
    clock.tick()
    clock.tick()
    assert queue.queue("schedule").get_job_ids() == ["sweep"]


def test_a_running_job_is_not_enqueued_again(queue: Yard) -> None:
    for _ in range(3):  # as after restarts
        Clock((Entry(jobs.sweep(), every=timedelta()),)).tick()
    assert queue.queue("schedule").get_job_ids() == ["sweep"]


def test_a_job_is_due_again_after_its_period(queue: Yard) -> None:
    clock = Clock((Entry(jobs.sweep(), every=timedelta()),))
    clock.tick()
    queue.redis.flushdb()
    clock.tick()
    assert queue.queue("schedule").get_job_ids() == ["sweep"]


def test_a_job_that_is_not_due_waits(queue: Yard) -> None:
    Clock((Entry(jobs.tidy(), every=timedelta(days=1), after=timedelta(minutes=10)),)).tick()
    assert not queue.redis.keys("rq:queue:*")


def test_a_missing_job_is_enqueued_again_in_time() -> None:
    """Pending for 3 s, seen by the next sweep, in a worker within 3 s more: 60 s are allowed."""
    (sweep,) = (entry for entry in SCHEDULE if entry.job == jobs.sweep())
    assert sweep.every <= timedelta(seconds=30)
