"""The state of each dependency, checked concurrently with a time limit."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock

from redis import Redis
from sqlalchemy import Engine, text

from portal import config, installation
from portal.config import Settings
from portal.db import db
from portal.infra import disk_space, jobs, storage

ANSWER_WITHIN_S = 1.8
FAILED = {"disk": "full"}  # the states of dependencies that are not away if their check fails

Check = Callable[[], bool]

_threads = ThreadPoolExecutor(max_workers=6 + len(jobs.QUEUES), thread_name_prefix="readyz")
_running: dict[str, "Future[bool]"] = {}
_lock = Lock()


def states() -> dict[str, str]:
    """Return "ready" or "away" for each dependency by name, for the disk "full", within ANSWER_WITHIN_S."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    answers = {name: _start(name, check) for name, check in _checks(db.engine).items()}
    return {
        name: "ready" if _passes(answer, deadline) else FAILED.get(name, "away") for name, answer in answers.items()
    }


def warnings() -> list[str]:
    """Return warnings for operators, in sentences. They don't affect readiness."""
    answer = _start("owner", partial(installation.is_foreign, db.engine))
    return [installation.NOT_OURS] if _passes(answer, time.monotonic() + ANSWER_WITHIN_S) else []


def _checks(engine: Engine) -> dict[str, Check]:
    checks: dict[str, Check] = {
        "database": partial(_database_answers, engine),
        "redis": jobs.connection().ping,
        "uploads_bucket": storage.uploads.answers,
        "cdn_bucket": storage.cdn.answers,
        "disk": partial(_disk_has_room, config.settings()),
    }
    return checks | {f"{queue}_worker": partial(_has_worker, jobs.connection(), queue) for queue in jobs.QUEUES}


def _start(name: str, check: Check) -> "Future[bool]":
    """Start a check, or join one that still hangs, so an unavailable dependency can't take a thread per request."""
    with _lock:
        if name not in _running or _running[name].done():
            _running[name] = _threads.submit(check)
        return _running[name]


def _passes(answer: "Future[bool]", deadline: float) -> bool:
    try:
        return answer.result(timeout=max(0, deadline - time.monotonic()))
    except Exception:  # any failure means away
        return False


def _database_answers(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text("SELECT 1")) == 1)


def _disk_has_room(settings: Settings) -> bool:
    return not disk_space.is_full(settings)


def _has_worker(redis: Redis, queue: str) -> bool:
    """Return whether a worker serves the queue. Its key expires without heartbeats (workers/worker.py)."""
    keys = redis.smembers(f"rq:workers:{queue}")
    return bool(keys) and bool(redis.exists(*keys))
