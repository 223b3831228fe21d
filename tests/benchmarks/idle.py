"""What workers without work cost Valkey: python -m tests.benchmarks.idle [seconds]

The pool that `python app.py` starts on two cores, on an empty database. After it has started, Valkey's own counters are
read twice; commands include those of the sweep, which runs every 10 s.
"""

import sys
import time
from subprocess import DEVNULL

from flask_migrate import upgrade
from redis import Redis

from app import create_app
from portal.config import Settings
from portal.embedded import start_seaweedfs, start_valkey
from portal.infra import jobs, storage
from tests.conftest import scratch
from tests.processes import started, until

QUEUES = [jobs.PIXELS, jobs.NETWORK, jobs.WEBHOOKS, jobs.SYNC, jobs.CDN] * 2 + [jobs.SCHEDULE]
SECRET_KEY = "only for measuring, only for measuring"
MOST_SHOWN = 12


def main(seconds: float = 60) -> None:
    directory = scratch("idle-")
    database = f"sqlite:///{directory / 'frontage.db'}"
    valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
    settings = Settings(
        data_dir=directory, database_url=database, secret_key=SECRET_KEY, **valkey.settings, **s3.settings
    )
    with create_app(settings).app_context():
        upgrade()
        storage.uploads.prepare()
        storage.cdn.prepare()
    env = {
        "DATA_DIR": str(directory),
        "SECRET_KEY": SECRET_KEY,
        "REDIS_URL": settings.redis_url or "",
        "S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "AWS_ACCESS_KEY_ID": settings.s3_access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key or "",
    }
    redis = Redis.from_url(valkey.settings["redis_url"])
    try:
        with started("-m", "workers.pool", *QUEUES, env=env, stdout=DEVNULL):
            until(lambda: redis.scard("rq:workers") == len(QUEUES))
            time.sleep(10)  # the first sweep, the first maintenance
            print_difference(redis, seconds)
    finally:
        redis.close()
        valkey.stop()
        s3.stop()


def print_difference(redis: Redis, seconds: float) -> None:
    before, calls_before = redis.info("stats"), calls(redis)
    time.sleep(seconds)
    after, calls_after = redis.info("stats"), calls(redis)
    opened = after["total_connections_received"] - before["total_connections_received"]
    made = {name: count - calls_before.get(name, 0) for name, count in calls_after.items()}
    print(f"{len(QUEUES)} idle workers, {seconds:g} s")
    print(f"connections   {redis.info('clients')['connected_clients']} open, {opened / seconds:.2f} opened a second")
    print(f"commands      {sum(made.values()) / seconds:.1f} a second, of these:")
    for name, count in sorted(made.items(), key=lambda each: -each[1])[:MOST_SHOWN]:
        print(f"  {name:28}{count / seconds:8.2f}")


def calls(redis: Redis) -> dict[str, int]:
    return {name: each["calls"] for name, each in redis.info("commandstats").items()}


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
