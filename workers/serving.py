"""From a bare process to a worker that serves its queue, whatever becomes of Redis meanwhile."""

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
from portal.infra import jobs
from portal.infra.processes import on_stop
from workers import app
from workers.worker import TunedWorker

USAGE = f"Usage: python -m workers QUEUE, where QUEUE is one of {', '.join(jobs.QUEUES)}."
WRONG_POLICY = "Redis must keep what it is given: set its maxmemory-policy to noeviction (it is {})."

log = logging.getLogger("workers")


def get_ready() -> None:
    """Import and make before the first fork what every work-horse would need again (220 ms a job)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    try:
        app()
    except config.WrongSetting as wrong:
        refuse(str(wrong))
    for name in {job.name for job in jobs.examples()}:
        importlib.import_module(name.rpartition(".")[0])
    Image.init()
    time.strptime("2026", "%Y")  # imports its second half, which RQ asks for in each work-horse
    _rehearse()
    gc.freeze()  # the collector would copy what the horses share


def _rehearse() -> None:
    """Run the jobs of a row for one that isn't there, so that no work-horse has to configure the models first."""
    with app().app_context():
        try:
            for job in jobs.examples():
                if job.args:
                    import_attribute(job.name)(*job.args)
        except SQLAlchemyError as error:  # the database is away, or empty yet: jobs will say so
            log.warning("no job was rehearsed: %s", type(error).__name__)
        db.session.remove()
        db.engine.dispose()


def serve(queue: str, name: str) -> None:
    """Work until asked to stop. RQ gives up where Redis goes away in the middle of a job; we don't.

    `name` stands before each line of the log, with a tab.
    """
    logging.basicConfig(level=logging.WARNING, format=f"{name}\t%(message)s", stream=sys.stdout, force=True)
    log.setLevel(logging.WARNING if queue == jobs.SCHEDULE else logging.INFO)  # it says the same every 10 s
    with app().app_context():
        url = config.settings().redis_url or ""
    # Without driver_info each new connection, so each work-horse, would parse redis-py's own package metadata.
    redis = Redis.from_url(url, socket_connect_timeout=2, driver_info=None)
    while True:
        on_stop(leave)
        _wait_for(redis)
        worker = TunedWorker(queue, redis)
        try:
            worker.work(logging_level="WARNING")
        except RedisError as error:
            log.warning("Redis went away: %s", error)
        except StopRequested:
            pass  # while it took its leave of Redis
        worker.end_horse()
        if worker.is_asked_to_stop:
            return


def refuse(sentence: str) -> NoReturn:
    """End with a sentence for the operator."""
    print(sentence, file=sys.stderr)
    sys.exit(2)


def _wait_for(redis: Redis) -> None:
    """Return once Redis answers; refuse one that forgets (case I10)."""
    while True:
        try:
            policy = redis.info("memory").get("maxmemory_policy", "noeviction")
            break
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            time.sleep(1)
    if policy != "noeviction":
        refuse(WRONG_POLICY.format(policy))


def leave(*_: Any) -> NoReturn:
    sys.exit(0)
