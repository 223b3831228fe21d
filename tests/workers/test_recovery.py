"""What happens to a job when its horse, its worker or Redis is killed."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from portal.infra import jobs
from portal.infra.processes import STOP_SIGNALS
from portal.infra.redis_client import breaker
from tests.processes import lives, parent_of, until
from tests.workers.conftest import Yard
from workers import worker as tuned
from workers.pool import Pool


def test_a_job_runs(busy: Yard) -> None:
    job = busy.enqueue("note")
    until(lambda: busy.status(job) == "finished")
    assert len(busy.notes("done")) == 1


def test_a_killed_horse_is_followed_by_another(busy: Yard) -> None:
    job = busy.enqueue("kill_horse_once")
    until(lambda: busy.status(job) == "finished")
    assert [word for word, _, _ in busy.notes()] == ["begin", "begin", "end"]


@pytest.mark.parametrize("whom", [pytest.param("the worker", marks=pytest.mark.slow), "the worker and its horse"])
def test_a_killed_workers_job_runs_again_and_never_twice_at_a_time(busy: Yard, whom: str) -> None:
    job = busy.enqueue("hold")
    until(lambda: busy.notes("begin"))
    horse = busy.notes("begin")[0][1]
    victim = parent_of(horse)
    os.kill(victim, signal.SIGSTOP)  # so that it doesn't notice its horse's death
    if whom == "the worker and its horse":
        os.kill(horse, signal.SIGKILL)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not lives(horse))
    assert len(busy.notes("begin")) == 1
    until(lambda: len(busy.notes("begin")) > 1)
    busy.open_gate()
    until(lambda: busy.status(job) == "finished")
    assert len(busy.notes("begin")) == 2
    assert len(busy.notes("end")) == 1  # the first run never came that far


def test_jobs_of_a_killed_worker_are_noticed_within_15_s() -> None:
    """Its last heartbeat counts for a while; then another worker looks for such jobs, between two waits for new
    ones."""
    waits_s = max(1, tuned.WORKER_TTL_S - 15)  # RQ's arithmetic
    assert tuned.HEARTBEAT_TTL_S + tuned.MAINTENANCE_INTERVAL_S + waits_s < 15
    assert tuned.STUCK_AFTER + timedelta(seconds=2 * tuned.MAINTENANCE_INTERVAL_S + waits_s) < timedelta(seconds=15)


def test_a_job_that_kills_its_horse_each_time_ends_while_others_continue(busy: Yard) -> None:
    poison = busy.enqueue("kill_horse")
    others = [busy.enqueue("note") for _ in range(3)]
    until(lambda: busy.status(poison) == "failed")
    until(lambda: all(busy.status(job) == "finished" for job in others))
    assert len(busy.notes("begin")) == 4  # once, and three times again


def test_a_job_cannot_mistake_its_timeout_for_another_failure(busy: Yard) -> None:
    job = busy.enqueue("shrug", timeout=1, retry=None)
    until(lambda: busy.status(job) == "failed")
    assert [word for word, _, _ in busy.notes()] == ["begin"]


@pytest.mark.slow
def test_a_job_that_kills_its_worker_each_time_ends(busy: Yard) -> None:
    poison = busy.enqueue("kill_worker")
    until(lambda: busy.status(poison) == "failed", within_s=60)
    assert [word for word, _, _ in busy.notes()] == ["begin"] * 4


def test_a_job_whose_worker_died_between_queue_and_start_runs(busy: Yard) -> None:
    with busy.redis.pipeline() as both:  # no worker sees it in the queue
        job = busy.enqueue("note", pipeline=both)
        both.lmove("rq:queue:network", "rq:queue:network:intermediate", "RIGHT", "LEFT")
        both.execute()
    until(lambda: busy.status(job) == "finished")


@pytest.mark.slow  # its time-outs take ten seconds
def test_while_redis_is_down_or_hung_enqueuing_fails_and_the_worker_recovers(
    mortal: Yard, jobs_of: Callable[[Yard], None]
) -> None:
    jobs_of(mortal)
    mortal.valkey.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(redis.TimeoutError):
            jobs.enqueue(jobs.sweep())
    finally:
        mortal.valkey.process.send_signal(signal.SIGCONT)
    with mortal.without_redis() as calls:
        until(lambda: calls)  # by the worker
        breaker.close()
        with pytest.raises(redis.ConnectionError):
            jobs.enqueue(jobs.sweep())
    job = mortal.enqueue("note")
    until(lambda: mortal.status(job) == "finished")
    assert mortal.programs[-1].poll() is None


def test_a_job_continues_while_redis_is_down(mortal: Yard) -> None:
    mortal.enqueue("hold")
    until(lambda: mortal.notes("begin"))
    with mortal.without_redis() as calls:
        until(lambda: calls)  # by the worker, as a heartbeat of the job
    mortal.open_gate()
    until(lambda: mortal.notes("end"))
    assert len(mortal.notes("begin")) == 1
    job = mortal.enqueue("note")
    until(lambda: mortal.status(job) == "finished")


def test_a_worker_told_to_stop_while_redis_is_down_finishes_its_job(mortal: Yard) -> None:
    mortal.enqueue("hold")
    until(lambda: mortal.notes("begin"))
    worker = mortal.programs[-1]
    with mortal.without_redis() as calls:
        until(lambda: calls)
        worker.terminate()
        calls.clear()
        until(lambda: calls)  # to report the stop, or as a heartbeat of the job
        mortal.open_gate()
        until(lambda: mortal.notes("end") or worker.poll() is not None)
    assert len(mortal.notes("end")) == 1
    assert worker.wait(timeout=60) == 0


def test_a_worker_that_cannot_be_forked_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """And running ones are left alone."""

    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refuse)
    pool = Pool(["network"])
    pool._start("network-1")
    assert (list(pool._due), pool._running) == (["network-1"], {})
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOP_SIGNALS)


def test_a_pool_told_to_stop_while_it_counts_its_dead_counts_them_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would signal a process that no longer exists, or wait for one that it started too late."""
    waitpid = os.waitpid

    def told_to_stop(*args: int) -> tuple[int, int]:
        found = waitpid(*args)
        signal.raise_signal(signal.SIGTERM)
        return found

    pool = Pool(["network"])
    pool._due.clear()
    pool._running[os.posix_spawn("/bin/true", ["true"], {})] = "network-1"
    before = signal.signal(signal.SIGTERM, pool._stop)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("os.waitpid", told_to_stop)
            until(lambda: pool._reap() or not pool._running)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (pool._due, pool._running) == ({}, {})


def test_an_idle_round_costs_few_commands_and_no_connection(yard: Yard) -> None:
    """Heartbeat and maintenance; a queue's next worker leaves the maintenance to the first."""

    def counted() -> tuple[int, int]:
        stats = yard.redis.info("stats")
        return stats["total_commands_processed"], stats["total_connections_received"]

    worker, other = (tuned.TunedWorker("network", yard.redis) for _ in range(2))
    for each in (worker, other):
        each.register_birth()
    worker.run_maintenance_tasks()  # the first round is also the minutely one
    yard.redis.delete(worker.queue.registry_cleaning_key)
    before = counted()
    worker.heartbeat()
    worker.run_maintenance_tasks()
    other.heartbeat()
    other.run_maintenance_tasks()
    after = counted()
    assert (after[0] - before[0] - 1, after[1] - before[1]) == (10, 0), "INFO is one command"


def test_a_worker_registers_again_after_a_flushall(yard: Yard) -> None:
    worker = tuned.TunedWorker("network", yard.redis)
    worker.register_birth()
    yard.redis.flushdb()
    worker.heartbeat()
    assert yard.known() == {worker.key.encode()}
    assert yard.redis.hget(worker.key, "queues") == b"network"
