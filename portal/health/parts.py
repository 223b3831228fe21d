"""The state of each part we stand on, all asked at once, with a time limit."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock

from redis import Redis
from sqlalchemy import Engine, text

from portal import installation
from portal.db import db
from portal.infra import jobs, storage

ANSWER_WITHIN_S = 1.8

Check = Callable[[], bool]

_threads = ThreadPoolExecutor(max_workers=5 + len(jobs.QUEUES), thread_name_prefix="readyz")
_asked: dict[str, "Future[bool]"] = {}
_lock = Lock()


def states() -> dict[str, str]:
    """Return "ready" or "away" for each part by name, within ANSWER_WITHIN_S."""
    deadline = time.monotonic() + ANSWER_WITHIN_S
    answers = {name: _ask(name, check) for name, check in _checks(db.engine).items()}
    return {name: "ready" if _holds(answer, deadline) else "away" for name, answer in answers.items()}


def warnings() -> list[str]:
    """Return what an operator should know of though every part is ready, in sentences."""
    answer = _ask("owner", partial(installation.is_foreign, db.engine))
    return [installation.NOT_OURS] if _holds(answer, time.monotonic() + ANSWER_WITHIN_S) else []


def _checks(engine: Engine) -> dict[str, Check]:
    checks: dict[str, Check] = {
        "database": partial(_database_answers, engine),
        "redis": jobs.connection().ping,
        "uploads_bucket": storage.uploads.answers,
        "cdn_bucket": storage.cdn.answers,
    }
    return checks | {f"{queue}_worker": partial(_has_worker, jobs.connection(), queue) for queue in jobs.QUEUES}


def _ask(name: str, check: Check) -> "Future[bool]":
    """Ask, or join a question that hangs still: a part that is away must not eat a thread a request."""
    with _lock:
        if name not in _asked or _asked[name].done():
            _asked[name] = _threads.submit(check)
        return _asked[name]


def _holds(answer: "Future[bool]", deadline: float) -> bool:
    try:
        return answer.result(timeout=max(0, deadline - time.monotonic()))
    except Exception:  # whatever is wrong with it: it is away
        return False


def _database_answers(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text("SELECT 1")) == 1)


def _has_worker(redis: Redis, queue: str) -> bool:
    """A worker's key lives as long as its heartbeat is fresh (workers/worker.py)."""
    keys = redis.smembers(f"rq:workers:{queue}")
    return bool(keys) and bool(redis.exists(*keys))
