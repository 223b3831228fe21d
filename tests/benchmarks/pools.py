"""RQ's own WorkerPool beside our pool: start, memory, deaths, and the end, with the queues of production.

    python -m tests.benchmarks.pools

Three ways take turns on one embedded Valkey. Each imports once and forks its workers from that process:

- ours: `workers.pool`.
- RQ's: a WorkerPool for each queue, because a worker of two queues loses a job when it is killed between them.
  Its worker_class is TunedWorker, behind the arguments that RQ passes.
- bent: the same pools, whose workers ignore what RQ asks of them and call our `serve`.

WorkerPool.start() blocks and takes the signals of its process, so the pools share one process through its parts,
`start_workers` and `check_workers`, and a loop of ours. Linux only: the memory is the PSS of all the processes.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask_migrate import upgrade
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq.worker_pool import WorkerPool

from app import create_app
from portal import jobs
from portal.config import Settings
from portal.embedded import start_valkey
from portal.processes import die_with_parent, on_stop
from tests.processes import descendants, lives, started, until
from workers import pool
from workers.serving import get_ready, leave, log, serve
from workers.worker import AllowedJob, PromptQueue, TunedWorker

ROUNDS = 3
QUEUES = ["pixels", "pixels", "network", "network", "webhooks", "sync", "sync", "cdn", "cdn", "schedule"]  # on two cores
COUNTED_S, ENDED_WITHIN_S = 10, 10


class RqsWorker(TunedWorker):
    """TunedWorker as WorkerPool makes it."""

    def __init__(self, queues: list[Queue], connection: Redis, **_: Any) -> None:
        super().__init__(queues[0].name, connection)


class BentWorker:
    """No worker, but what becomes one: it leaves RQ's scheduler out and dies with the pool."""

    log = log

    def __init__(self, queues: list[Queue], **_: Any) -> None:
        self._queue = queues[0].name

    def work(self, **_: Any) -> None:
        on_stop(leave)
        die_with_parent(getattr(multiprocessing.parent_process(), "pid", 0))
        serve(self._queue, self._queue)


def run_rqs(queues: list[str], worker_class: Any) -> None:
    """Do what WorkerPool.start() does, for several pools."""
    get_ready()
    redis = Redis.from_url(os.environ["REDIS_URL"])
    pools = [
        WorkerPool([queue], redis, queues.count(queue), worker_class, JSONSerializer, AllowedJob, PromptQueue)
        for queue in dict.fromkeys(queues)
    ]
    for each in pools:
        each._burst = False  # only start() sets it otherwise
        each.start_workers(burst=False, logging_level="WARNING")
    on_stop(lambda *_: [each.request_stop() for each in pools])
    while any(each.status != each.Status.STOPPED or not each.all_workers_have_stopped() for each in pools):
        for each in pools:
            each.check_workers()
        time.sleep(pool.LOOK_EVERY_S)


WAYS: dict[str, tuple[Callable[[list[str]], None], list[Any]]] = {
    "ours": (pool.main, [pool.Pool]),
    "RQ's": (lambda queues: run_rqs(queues, RqsWorker), [RqsWorker, run_rqs]),
    "bent": (lambda queues: run_rqs(queues, BentWorker), [BentWorker, run_rqs]),
}


def main() -> None:
    """Measure all ways, taking turns, and print the medians."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="frontage-") as name:
        directory = Path(name)
        valkey = start_valkey(directory / "valkey")
        try:
            env = _prepare(directory, valkey.settings)
            redis = Redis.from_url(env["REDIS_URL"])
            for _ in range(ROUNDS):
                for way in WAYS:
                    for what, value in _measured(way, env, redis):
                        found[what][way].append(value)
        finally:
            valkey.stop()
    for way, (_, parts) in WAYS.items():
        source = "".join(inspect.getsource(part) for part in parts)
        found["lines of ours that do it"][way] = [sum(bool(line.strip()) for line in source.splitlines())]
    print(f"Medians of {ROUNDS} rounds, {len(QUEUES)} workers{'':16}" + "".join(f"{way:>9}" for way in WAYS))
    for what, values in found.items():
        print(f"  {what:<44}" + "".join(f"{statistics.median(values[way]):>9.4g}" for way in WAYS))


def _prepare(directory: Path, known: dict[str, str]) -> dict[str, str]:
    """Make the database, and return the environment of the workers."""
    database = f"sqlite:///{directory / 'bench.db'}"
    s3 = {"s3_endpoint_url": "http://127.0.0.1:9", "s3_access_key": "test", "s3_secret_key": "test"}
    with create_app(
        Settings(data_dir=directory, secret_key="x" * 40, database_url=database, **known, **s3)
    ).app_context():
        upgrade()
    return {
        "DATA_DIR": str(directory),
        "SECRET_KEY": "x" * 40,
        "DATABASE_URL": database,
        "REDIS_URL": known["redis_url"],
        "S3_ENDPOINT_URL": s3["s3_endpoint_url"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # as in production
    }


def _measured(way: str, env: dict[str, str], redis: Redis) -> Iterator[tuple[str, float]]:
    began = time.monotonic()
    with _running(way, env, redis) as process:
        until(lambda: len(_known(redis)) == len(QUEUES))
        yield "seconds until all workers are known", time.monotonic() - began
        time.sleep(3)
        yield "processes", len(_tree(process))
        yield "MB (PSS) when idle", min(_pss_mb(process) for _ in range(5))
        pids = _tree(process)
        times = [_seconds_until_replaced(redis, queue) for queue in dict.fromkeys(QUEUES)]
        yield "seconds until a killed worker is replaced", statistics.median(times)
        yield "  the slowest of six", max(times)
        pids |= _tree(process)
        began = time.monotonic()
        process.terminate()
        with suppress(AssertionError, subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN_S)
            yield "seconds until SIGTERM has ended the pool", time.monotonic() - began
            until(lambda: not any(map(lives, pids)), ENDED_WITHIN_S)
        yield "  processes left 10 s later", sum(map(lives, pids))
    with _running(way, env, redis) as process:
        until(lambda: len(_known(redis)) == len(QUEUES))
        pids = _tree(process)
        process.kill()
        process.wait()
        time.sleep(2)
        yield "processes left 2 s after kill -9 of the pool", sum(map(lives, pids))
    with _running(way, env | {"SCHEDULE_DIES": "1"}, redis):
        until(lambda: redis.get("starts"))
        time.sleep(COUNTED_S)
        yield f"starts in {COUNTED_S} s of a worker that dies at once", float(redis.get("starts") or 0)


@contextmanager
def _running(way: str, env: dict[str, str], redis: Redis) -> Iterator[subprocess.Popen[str]]:
    """A pool and, whatever becomes of it, no process of its group afterwards."""
    redis.flushall()
    command = ("-m", "tests.benchmarks.pools", way, *QUEUES)
    with started(*command, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _known(redis: Redis, queue: str = "") -> set[bytes]:
    """The keys of the workers that Redis knows, of all queues or of one."""
    return {key for key in redis.smembers(f"rq:workers:{queue}".rstrip(":")) if redis.exists(key)}


def _seconds_until_replaced(redis: Redis, queue: str) -> float:
    time.sleep(random.random())  # anywhere in the pool's loop
    before = _known(redis, queue)
    os.kill(int(redis.hget(min(before), "pid") or 0), signal.SIGKILL)
    began = time.monotonic()
    until(lambda: _known(redis, queue) - before)
    return time.monotonic() - began


def _tree(process: subprocess.Popen[str]) -> set[int]:
    return {process.pid, *descendants(process.pid)}


def _pss_mb(process: subprocess.Popen[str]) -> float:
    total_kb = 0
    for pid in _tree(process):
        with suppress(OSError):  # a work-horse that has ended
            total_kb += sum(map(int, re.findall(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)))
    time.sleep(0.5)
    return total_kb / 1024


def _run(way: str, queues: list[str]) -> None:
    """Be the pool that is measured."""
    work = TunedWorker.work

    def begin(worker: TunedWorker, **options: Any) -> bool:
        if "SCHEDULE_DIES" in os.environ and worker.queue.name == jobs.SCHEDULE:
            worker.connection.incr("starts")
            os._exit(1)
        return work(worker, **options)

    TunedWorker.work = begin  # type: ignore[method-assign]
    WAYS[way][0](queues)


if __name__ == "__main__":
    _run(sys.argv[1], sys.argv[2:]) if sys.argv[1:] else main()
