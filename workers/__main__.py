"""python -m workers QUEUE: work off one queue until SIGTERM."""

import sys

from portal.infra import jobs
from portal.infra.processes import on_stop
from workers.serving import USAGE, get_ready, leave, refuse, serve

# Killed while it pops from two queues, a worker loses the job for good (reliability.md, decision 3).
ONE_QUEUE = "A worker works off exactly one queue. Start a process for each, or `python -m workers.pool`."


def main(arguments: list[str]) -> None:
    """Check what must hold, get everything ready that a work-horse shall find, and work."""
    if len(arguments) > 1:
        refuse(ONE_QUEUE)
    if not arguments or arguments[0] not in jobs.QUEUES:
        refuse(USAGE)
    on_stop(leave)
    get_ready()
    serve(arguments[0], name=arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
