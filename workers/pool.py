"""python -m workers.pool QUEUE QUEUE …: a worker process for each queue, forked from one parent.

The parent imports everything once, so five workers start as fast as one and share its memory. Each log line begins
with the worker's name.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from portal.embedded.backoff import Backoff
from portal.infra import jobs
from portal.infra.processes import STOP_SIGNALS, die_with_parent, on_stop
from workers.serving import exit_process, preload, refuse, serve

USAGE = f"Usage: python -m workers.pool QUEUE …, where each QUEUE is one of {', '.join(jobs.QUEUES)}."

POLL_INTERVAL_S = 0.1
MAX_PAUSE_S = 2.0  # short: a fork is cheap, and a killed worker's job must resume within 15 s

log = logging.getLogger("workers.pool")


class Pool:
    """Worker processes by name; one that dies is restarted."""

    def __init__(self, queues: list[str]) -> None:
        self._queues = {f"{queue}-{queues[:n].count(queue) + 1}": queue for n, queue in enumerate(queues)}
        self._pauses = {name: Backoff(MAX_PAUSE_S) for name in self._queues}
        self._running: dict[int, str] = {}
        self._due = dict.fromkeys(self._queues, 0.0)  # when to start the workers that aren't running
        self._is_stopping = False

    def run(self) -> None:
        """Keep workers running until SIGTERM or SIGINT, then wait until their current jobs are done."""
        on_stop(self._stop)
        while self._running or self._due:
            self._reap()
            for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
                self._start(name)
            time.sleep(POLL_INTERVAL_S)

    def _reap(self) -> None:
        while self._running:
            with _stop_signals_blocked():
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                name = self._running.pop(pid, "")
                if name and not self._is_stopping:
                    self._start_later(name, f"ended with status {os.waitstatus_to_exitcode(status)}")

    def _start(self, name: str) -> None:
        with _stop_signals_blocked():
            if self._due.pop(name, None) is None:
                return
            self._pauses[name].started()
            parent_pid = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:  # out of memory or processes; the other workers keep running
                self._start_later(name, f"fork failed: {error}")
                return
            if not pid:
                self._become_worker(name, parent_pid)
            self._running[pid] = name

    def _start_later(self, name: str, reason: str) -> None:
        pause_s = self._pauses[name].died()
        log.warning("worker restarts in %g s: name=%s reason=%s", pause_s, name, reason)
        self._due[name] = time.monotonic() + pause_s

    def _become_worker(self, name: str, parent_pid: int) -> NoReturn:
        status = 1
        try:
            on_stop(exit_process)
            die_with_parent(parent_pid)
            serve(self._queues[name], name)
            status = 0
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        except Exception:
            log.exception("worker failed: name=%s", name)
        finally:  # the fork must never go on as a second pool
            logging.shutdown()
            os._exit(status)

    def _stop(self, *_: Any) -> None:
        self._is_stopping = True
        self._due.clear()
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Delay stop signals, so that their handler runs neither in a new child nor between a fork and its recording."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def main(arguments: list[str]) -> None:
    """Check the arguments, import everything, then fork the workers."""
    if not arguments or not set(arguments) <= set(jobs.QUEUES):
        refuse(USAGE)
    on_stop(exit_process)
    preload()
    Pool(arguments).run()


if __name__ == "__main__":
    main(sys.argv[1:])
