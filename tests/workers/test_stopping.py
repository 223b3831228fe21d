"""How workers end when told to, whatever signals they inherited as ignored or blocked."""

from __future__ import annotations

import signal

import pytest

from tests.processes import descendants, lives, until
from tests.workers.conftest import Yard


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_worker_told_to_stop_finishes_its_job(mortal: Yard, number: signal.Signals) -> None:
    job = mortal.enqueue("hold")
    until(lambda: mortal.notes("begin"))
    mortal.programs[-1].send_signal(number)
    until(lambda: is_stopping(mortal))
    mortal.open_gate()
    assert mortal.programs[-1].wait(timeout=60) == 0
    assert len(mortal.notes("end")) == 1
    assert mortal.status(job) == "finished"
    assert not is_stopping(mortal), "it unregistered"


def is_stopping(yard: Yard) -> bool:
    """Whether readyz sees a worker that was told to stop."""
    return any(yard.redis.hget(known, "shutdown_requested_date") for known in yard.known())


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_pool_told_to_stop_leaves_no_worker(busy: Yard, number: signal.Signals) -> None:
    pool = busy.programs[-1]
    workers = descendants(pool.pid)
    assert len(workers) == 2
    pool.send_signal(number)
    assert pool.wait(timeout=60) == 0
    assert not [pid for pid in workers if lives(pid)]
    assert not busy.known()
