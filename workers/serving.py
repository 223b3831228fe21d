"""Turn a process into a worker that serves a queue and survives outages of Redis."""

import gc
import importlib
import logging
import sys
import time
from typing import Any, NoReturn

from PIL import Image
from redis import Redis, RedisError
from rq.exceptions import StopRequested
from rq.utils import import_attribute
from sqlalchemy.exc import SQLAlchemyError

from portal import config
from portal.db import db
from portal.infra import jobs, logs
from portal.infra.processes import on_stop
from portal.startup import StartupRefused, demand_usable
from workers import app
from workers.worker import BLOCKING_S, TunedWorker

USAGE = f"Usage: python -m workers QUEUE, where QUEUE is one of {', '.join(jobs.QUEUES)}."
WRONG_POLICY = "Redis must not evict jobs: set its maxmemory-policy to noeviction (it is {})."

log = logging.getLogger("workers")


def preload() -> None:
    """Import and create what every work-horse needs before the first fork; measured: saves 220 ms per job."""
    logs.configure()
    try:
        with app().app_context():
            demand_usable()
    except (config.WrongSetting, StartupRefused) as wrong:
        refuse(str(wrong))
    for name in {job.name for job in jobs.examples()}:
        importlib.import_module(name.rpartition(".")[0])
    Image.init()
    time.strptime("2026", "%Y")  # imports _strptime, which RQ would import in each work-horse
    _warm_up()
    gc.freeze()  # otherwise the collector would copy memory that the work-horses share


def _warm_up() -> None:
    """Run each job that takes a row's id, for a row that doesn't exist, so that forks find the models configured."""
    with app().app_context():
        try:
            for job in jobs.examples():
                if job.args:
                    import_attribute(job.name)(*job.args)
        except SQLAlchemyError as error:  # the database is down or still empty; jobs will report it
            log.warning("warm-up skipped: reason=%s", type(error).__name__)
        db.session.remove()
        db.engine.dispose()


def serve(queue: str, name: str) -> None:
    """Run jobs until asked to stop. Unlike RQ's worker, this one survives the loss of Redis in the middle of a job.

    Each log line begins with `name` and a tab.
    """
    logs.configure(prefix=f"{name}\t")
    log.setLevel(logging.WARNING if queue == jobs.SCHEDULE else logging.INFO)  # that queue has a job every 10 s
    with app().app_context():
        url = config.settings().redis_url or ""
    # Without driver_info=None each new connection, and so each work-horse, parses redis-py's package metadata.
    redis = Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2 * BLOCKING_S, driver_info=None)
    while True:
        on_stop(exit_process)
        _wait_for(redis)
        worker = TunedWorker(queue, redis)
        try:
            worker.work(logging_level="WARNING")
        except RedisError as error:
            log.warning("Redis lost: reason=%s", error)
        except StopRequested:
            pass  # raised while the worker deregisters
        worker.end_horse()
        if worker.is_asked_to_stop:
            return


def refuse(sentence: str) -> NoReturn:
    """Exit with status 2 and a message for the operator."""
    print(sentence, file=sys.stderr)
    sys.exit(2)


def _wait_for(redis: Redis) -> None:
    """Return once Redis answers and takes writes; exit if it would evict jobs when its memory is full."""
    while True:
        try:
            redis.ping()  # refused while Redis can't write to its disk
            policy = redis.info("memory").get("maxmemory_policy", "noeviction")
            break
        except RedisError as error:
            log.warning("waiting for Redis: reason=%s", error)
            time.sleep(1)
    if policy != "noeviction":
        refuse(WRONG_POLICY.format(policy))


def exit_process(*_: Any) -> NoReturn:
    sys.exit(0)
