"""`python -m workers` or `workers.pool`, with the tests' jobs on its allow-list.

It notices deaths sooner than in production, unless AS_OURS is set. Each limit exceeds the pauses of a busy machine,
since RQ counts in whole seconds: a late heartbeat, or a maintenance that outlasts its lock, runs a job twice."""

import os
import sys
from datetime import timedelta

from portal.embedded import backoff
from tests.workers import sample_jobs
from workers import __main__ as one
from workers import pool, schedule, worker
from workers.worker import AllowedJob, TunedWorker


def hurry() -> None:
    worker.MONITORING_INTERVAL_S, worker.HEARTBEAT_TTL_S = 1, 4
    worker.MAINTENANCE_INTERVAL_S = 0
    worker.WORKER_TTL_S = 16  # waits a second for a job
    worker.MAINTENANCE_LOCK_S = 5
    worker.STUCK_AFTER = timedelta(seconds=1)
    TunedWorker.max_connection_wait_time = 0.1
    backoff.FIRST_PAUSE_S = pool.MAX_PAUSE_S = 0.1
    schedule.SCHEDULE[0].every = timedelta(seconds=1)


if __name__ == "__main__":
    ours = ("note", "slow", "hold", "kill_horse", "kill_horse_once", "kill_worker", "shrug")
    AllowedJob.allowed |= {f"{sample_jobs.__name__}.{name}" for name in ours}
    if "AS_OURS" not in os.environ:
        hurry()
    if sys.argv[1] == "pool":
        pool.main(sys.argv[2:])
    else:
        one.main(sys.argv[1:])
