"""`python -m workers` or `workers.pool`, with the tests' errands on its allow-list."""

import sys

from tests.workers import errands
from workers import __main__ as one
from workers import pool
from workers.worker import AllowedJob

if __name__ == "__main__":
    ours = ("note", "slow", "kill_horse", "kill_horse_once", "kill_worker", "shrug")
    AllowedJob.allowed |= {f"{errands.__name__}.{name}" for name in ours}
    if sys.argv[1] == "pool":
        pool.main(sys.argv[2:])
    else:
        one.main(sys.argv[1:])
