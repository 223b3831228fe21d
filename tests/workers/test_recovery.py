"""What becomes of a job when its horse, its worker or Redis is taken away (reliability.md, group I)."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis

from portal import jobs
from portal.config import Settings
from portal.embedded import start_valkey
from tests.processes import lives, parent_of, until
from tests.workers.conftest import Yard


def test_a_job_runs(yard: Yard) -> None:
    yard.worker()
    job = yard.enqueue("note")
    until(lambda: yard.status(job) == "finished", within_s=3)
    assert len(yard.notes("done")) == 1


def test_i1_a_killed_horse_is_followed_by_another_within_2_s(yard: Yard) -> None:
    yard.worker()
    job = yard.enqueue("kill_horse_once")
    until(lambda: yard.status(job) == "finished", within_s=5)
    first, second = (at for _, _, at in yard.notes("begin"))
    assert second - first < 2


@pytest.mark.parametrize("whom", ["the worker", pytest.param("the worker and its horse", marks=pytest.mark.slow)])
def test_i2_i3_a_killed_workers_job_runs_again_within_15_s_and_never_twice_at_once(yard: Yard, whom: str) -> None:
    yard.worker(), yard.worker()
    job = yard.enqueue("slow", 20)
    until(lambda: yard.notes("begin"), within_s=3)
    horse = yard.notes("begin")[0][1]
    (victim,) = (worker for worker in yard.workers if worker.pid == parent_of(horse))
    if whom == "the worker and its horse":
        os.kill(horse, signal.SIGKILL)
    victim.kill()
    killed_at = time.monotonic()
    victim.wait()
    until(lambda: not lives(horse), within_s=1)
    until(lambda: len(yard.notes("begin")) == 2, within_s=15)
    assert yard.notes("begin")[1][2] - killed_at < 15
    until(lambda: yard.status(job) == "finished", within_s=6)
    assert len(yard.notes("end")) == 1  # the first run never came that far


def test_i11_sigterm_lets_the_job_finish(yard: Yard) -> None:
    worker = yard.worker()
    job = yard.enqueue("slow", 15)
    until(lambda: yard.notes("begin"), within_s=3)
    worker.terminate()
    assert worker.wait(timeout=5) == 0
    assert len(yard.notes("end")) == 1
    assert yard.status(job) == "finished"
    assert not yard.known()


def test_i12_a_job_that_kills_its_horse_each_time_ends_while_others_go_on(yard: Yard) -> None:
    yard.worker()
    poison = yard.enqueue("kill_horse")
    others = [yard.enqueue("note") for _ in range(3)]
    until(lambda: yard.status(poison) == "failed", within_s=10)
    until(lambda: all(yard.status(job) == "finished" for job in others), within_s=3)
    assert len(yard.notes("begin")) == 4  # once, and three times again


def test_a_job_whose_time_is_over_cannot_take_that_for_something_else(yard: Yard) -> None:
    yard.worker()
    name = "tests.workers.errands.shrug"
    job = yard.queue().enqueue_call(name, args=(str(yard.notes_file),), timeout=1)
    until(lambda: yard.status(job) == "failed", within_s=6)
    assert [word for word, _, _ in yard.notes()] == ["begin"]


@pytest.mark.slow
def test_i12_a_job_that_kills_its_worker_each_time_ends(yard: Yard) -> None:
    poison = yard.enqueue("kill_worker")
    for _ in range(4):
        yard.worker().wait(timeout=20)
    yard.worker()
    until(lambda: yard.status(poison) == "failed", within_s=20)
    assert [word for word, _, _ in yard.notes()] == ["begin"] * 4


@pytest.mark.slow
def test_i4_a_job_whose_worker_died_between_queue_and_start_runs(yard: Yard) -> None:
    job = yard.enqueue("note")
    yard.redis.lmove("rq:queue:network", "rq:queue:network:intermediate")
    yard.worker()
    took_s = until(lambda: yard.status(job) == "finished", within_s=30)
    assert took_s < 15


def test_i9_with_redis_away_or_hung_ringing_fails_within_1_5_s_and_the_worker_comes_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = yard.worker()
    monkeypatch.setattr(jobs, "_redis", None)  # given back afterwards
    jobs.connect(Settings(redis_url=yard.valkey.settings["redis_url"]))
    yard.valkey.process.send_signal(signal.SIGSTOP)
    assert _ringing_fails_within(1.5)
    yard.valkey.process.send_signal(signal.SIGCONT)
    yard.valkey.process.kill()
    yard.valkey.process.wait()
    assert _ringing_fails_within(1.5)
    time.sleep(2)
    yard.valkey = start_valkey(yard.directory / "valkey")
    job = yard.enqueue("note")
    until(lambda: yard.status(job) == "finished", within_s=8)
    assert worker.poll() is None


def test_a_job_goes_on_while_redis_is_away(yard: Yard) -> None:
    yard.worker()
    yard.enqueue("slow", 50)
    until(lambda: yard.notes("begin"), within_s=3)
    yard.valkey.process.kill()
    yard.valkey.process.wait()
    time.sleep(3)
    yard.valkey = start_valkey(yard.directory / "valkey")
    until(lambda: yard.notes("end"), within_s=5)
    assert len(yard.notes("begin")) == 1
    job = yard.enqueue("note")
    until(lambda: yard.status(job) == "finished", within_s=10)


def _ringing_fails_within(seconds: float) -> bool:
    began = time.monotonic()
    with pytest.raises(redis.RedisError):
        jobs.enqueue(jobs.ring_again())
    return time.monotonic() - began < seconds
