"""python -m workers QUEUE: run one queue's jobs until SIGTERM."""

import sys

from portal.infra import jobs
from portal.infra.processes import on_stop
from workers.serving import USAGE, exit_process, preload, refuse, serve

# A worker of several queues pops with BLPOP: if it is killed before it has stored the job's id, the job is lost.
ONE_QUEUE = "A worker takes exactly one queue. Start one process for each queue, or run `python -m workers.pool`."


def main(arguments: list[str]) -> None:
    """Check the arguments, prepare what work-horses inherit, and run jobs."""
    if len(arguments) > 1:
        refuse(ONE_QUEUE)
    if not arguments or arguments[0] not in jobs.QUEUES:
        refuse(USAGE)
    on_stop(exit_process)
    preload()
    serve(arguments[0], name=arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
