"""RQ's WorkerPool compared with ours: start, memory, recovery from deaths and stopping, with production's queues.

    python -m tests.benchmarks.pools

Three ways alternate on one embedded Valkey. Each imports once and forks its workers from that process:

- ours: `workers.pool`.
- RQ's: a WorkerPool for each queue, because a worker of two queues loses a job when it is killed between them.
  Its worker_class is TunedWorker, behind the arguments that RQ passes.
- bent: the same pools, but their workers ignore what RQ asks of them and call our `serve`.

WorkerPool.start() blocks and takes over the signals of its process. The pools share one process all the same: a loop
here calls what start() calls, and more often. Linux only, for the memory (PSS, which counts a shared page once)."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from flask_migrate import upgrade
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq.worker_pool import WorkerPool

from app import create_app
from portal.embedded import start_valkey
from portal.infra import jobs
from portal.infra.processes import die_with_parent, on_stop
from tests.processes import WITHIN_S, descendants, lives, started, until
from workers import pool, serving, worker

ROUNDS = 3
COUNTED_S = 10
QUEUES = [*jobs.QUEUES, jobs.PIXELS, jobs.NETWORK, jobs.WEBHOOKS, jobs.SYNC, jobs.CDN]  # production on two cores


class RqsWorker(worker.TunedWorker):
    """TunedWorker as WorkerPool makes it."""

    def __init__(self, queues: list[Queue], connection: Redis, **_: Any) -> None:
        super().__init__(queues[0].name, connection)


class BentWorker:
    """Turns RQ's worker into ours: without RQ's scheduler, and it dies with the pool."""

    log = serving.log

    def __init__(self, queues: list[Queue], **_: Any) -> None:
        self._queue = queues[0].name

    def work(self, **_: Any) -> None:
        on_stop(serving.exit_process)
        die_with_parent(getattr(multiprocessing.parent_process(), "pid", 0))
        serving.serve(self._queue, self._queue)


def run_rqs(worker_class: Any, queues: list[str]) -> None:
    """Do what WorkerPool.start() does, for several pools."""
    serving.preload()
    redis = Redis.from_url(os.environ["REDIS_URL"])
    more = (worker_class, JSONSerializer, worker.AllowedJob, worker.PromptQueue)
    pools = [WorkerPool([queue], redis, queues.count(queue), *more) for queue in dict.fromkeys(queues)]
    for each in pools:
        each._burst = False  # only start() sets it otherwise
        each.start_workers(burst=False)
    on_stop(lambda *_: [each.request_stop() for each in pools])  # type: ignore[no-untyped-call]
    while any(each.status != each.Status.STOPPED or not each.all_workers_have_stopped() for each in pools):
        for each in pools:
            each.check_workers()
        time.sleep(pool.POLL_INTERVAL_S)


WAYS: dict[str, tuple[Any, list[Any]]] = {  # how to run it, and the code of ours that it takes
    "ours": (pool.main, [pool.Pool]),
    "RQ's": (partial(run_rqs, RqsWorker), [RqsWorker, run_rqs]),
    "bent": (partial(run_rqs, BentWorker), [BentWorker, run_rqs]),
}


def main() -> None:
    """Measure all ways alternately, and print medians."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="frontage-") as directory:
        valkey = start_valkey(Path(directory) / "valkey")
        try:
            os.environ |= {
                "DATA_DIR": directory,
                "REDIS_URL": valkey.settings["redis_url"],
                "S3_ENDPOINT_URL": "http://127.0.0.1:9",  # unused: nothing listens on these ports
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # as in production
            }
            with create_app().app_context():
                upgrade()
            for way in ROUNDS * list(WAYS):
                for what, value in _measured(way, Redis.from_url(os.environ["REDIS_URL"])):
                    found[what][way].append(value)
        finally:
            valkey.stop()
    for way, (_, parts) in WAYS.items():
        lines = "".join(map(inspect.getsource, parts)).splitlines()
        found["lines of ours, without the blank ones"][way] = [sum(map(bool, map(str.strip, lines)))]
    print(f"{f'Medians of {ROUNDS} rounds, {len(QUEUES)} workers':<50}", *(f"{way:>8}" for way in WAYS))
    for what, values in found.items():
        print(f"{what:<50}", *(f"{median(values[way]):>8.3g}" for way in WAYS))


def _measured(way: str, redis: Redis) -> Iterator[tuple[str, float]]:
    began = time.monotonic()
    with _running(way, redis) as process:
        until(lambda: len(_known(redis)) == len(QUEUES))
        yield "seconds until all workers are known to Redis", time.monotonic() - began
        time.sleep(3)
        pids = _tree(process)
        yield "processes when idle", len(pids)
        yield "MB (PSS) when idle", min(_pss_mb(process) for _ in range(5))
        times = [_seconds_until_replaced(redis, queue) for queue in jobs.QUEUES]
        yield "seconds until a killed worker is replaced", median(times)
        yield "  the slowest of six", max(times)
        pids |= _tree(process)
        began = time.monotonic()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):  # the figure shows it
            process.wait(WITHIN_S)
        yield "seconds until SIGTERM has ended the pool", time.monotonic() - began
        time.sleep(2)
        yield "  processes left 2 s later", sum(map(lives, pids))
    with _running(way, redis) as process:
        until(lambda: len(_known(redis)) == len(QUEUES))
        pids = _tree(process)
        process.kill()
        time.sleep(2)
        yield "processes left 2 s after kill -9 of the pool", sum(map(lives, pids))
    with _running(way, redis, SCHEDULE_DIES="1"):
        until(lambda: redis.get("starts"))
        time.sleep(COUNTED_S)
        yield f"starts in {COUNTED_S} s of a worker that dies at once", float(redis.get("starts") or 0)


@contextmanager
def _running(way: str, redis: Redis, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run a pool; afterwards its whole process group is gone, whatever happened to the pool."""
    redis.flushall()
    command = ("-m", "tests.benchmarks.pools", way, *QUEUES)
    with started(*command, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _known(redis: Redis, key: str = "rq:workers") -> set[Any]:
    return {name for name in redis.smembers(key) if redis.exists(name)}


def _seconds_until_replaced(redis: Redis, queue: str) -> float:
    time.sleep(random.random())  # wherever the pool is in its loop
    key = f"rq:workers:{queue}"
    before = _known(redis, key)
    os.kill(int(redis.hget(min(before), "pid") or 0), signal.SIGKILL)
    began = time.monotonic()
    until(lambda: _known(redis, key) - before)
    return time.monotonic() - began


def _tree(process: subprocess.Popen[str]) -> set[int]:
    return {process.pid, *descendants(process.pid)}


def _pss_mb(process: subprocess.Popen[str]) -> float:
    time.sleep(0.5)
    total_kb = 0
    for pid in _tree(process):
        with suppress(OSError):  # a work-horse that has ended meanwhile
            total_kb += sum(map(int, re.findall(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)))
    return total_kb / 1024


def _die_at_once() -> NoReturn:
    Redis.from_url(os.environ["REDIS_URL"]).incr("starts")
    os._exit(1)


if __name__ == "__main__":
    if not sys.argv[1:]:
        main()
    else:  # be the pool that is measured
        if "SCHEDULE_DIES" in os.environ:
            worker.Clock = _die_at_once  # type: ignore[assignment,attr-defined]  # only this worker makes one
        WAYS[sys.argv[1]][0](sys.argv[2:])
