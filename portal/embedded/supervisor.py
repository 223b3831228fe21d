"""Supervises the parts: prefixes their log lines, restarts them when they die, and ends them in order."""

import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, cast

from portal.embedded.backoff import Backoff
from portal.embedded.process import Part, end, spawn, wait_until_ready

POLL_INTERVAL_S = 0.2
STOP_TIMEOUT_S = 5  # for a part that is stuck
KEPT_LINES = 15  # hidden log lines, printed if a part can't be started


class Child:
    """A part that is running, or will be restarted."""

    def __init__(self, part: Part, log: "Log") -> None:
        self.part, self._log = part, log
        self._backoff = Backoff()
        self._stuck: subprocess.Popen[bytes] | None = None  # a process that needs a restart
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.start()

    def start(self) -> None:
        self._backoff.started()
        self._start_at: float | None = None
        self.process = spawn(self.part, output=subprocess.PIPE)
        threading.Thread(target=self._forward, args=(self.process,), daemon=True).start()

    def restart_if_dead(self) -> None:
        """Restart the part if it exited, after a pause that doubles with each exit; reap parts that run once."""
        if self.is_stuck and self.part.can_restart():
            self._log.line(self.part.name, "could not write to a full disk, which has space again; restarts")
            end(self.process, STOP_TIMEOUT_S)
        if self.process.poll() is None or self.part.runs_once:
            return
        if self._start_at is None:
            pause_s = self._backoff.died()
            self._start_at = time.monotonic() + pause_s
            self._log.line(self.part.name, f"exited with status {self.process.returncode}; restarts in {pause_s:g} s")
        elif time.monotonic() >= self._start_at:
            self.start()

    @property
    def is_stuck(self) -> bool:
        """Whether the running process has logged that it needs a restart."""
        return self._stuck is self.process and self.process.poll() is None

    def print_hidden_lines(self) -> None:
        """Print the last log lines that were hidden."""
        for line in self._last:
            self._log.line(self.part.name, line)

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        output = cast(IO[bytes], process.stdout)
        for raw in output:
            line = raw.decode(errors="replace").rstrip()
            if self.part.is_stuck(line):
                self._stuck = process
            if self.part.is_shown(line):
                name, tab, text = line.partition("\t")  # pool workers prefix their own names
                self._log.line(*(name, text) if tab else (self.part.name, line))
            else:
                self._last.append(line)
        output.close()


class Log:
    """Prints log lines one at a time, each after the name of its part."""

    def __init__(self, width: int = 10) -> None:
        self._width = width
        self._lock = threading.Lock()
        self._dim, self._plain = ("\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "")

    def line(self, name: str, text: str) -> None:
        with self._lock:
            print(f"{self._dim}{name:<{self._width}}|{self._plain} {text}", flush=True)


class Supervisor:
    """All child processes of `python app.py`, in the order of their start."""

    def __init__(self) -> None:
        self.log = Log()
        self.children: list[Child] = []

    def start(self, *parts: Part) -> None:
        """Start parts concurrently and wait until all are ready. Raises CannotStart."""
        started = [Child(part, self.log) for part in parts]
        self.children += started
        for child in started:
            try:
                wait_until_ready(child.part, child.process)
            except Exception:
                child.print_hidden_lines()
                raise

    def watch(self) -> None:
        """Keep the children running until an exception, such as a signal's, ends it."""
        while True:
            for child in self.children:
                child.restart_if_dead()
            time.sleep(POLL_INTERVAL_S)

    def stop(self, names: tuple[str, ...], timeout_s: float) -> None:
        """End the children whose names start with one of these, all concurrently, and by force after the timeout."""
        stopping = [child for child in self.children if child.part.name.startswith(names)]
        self.children = [child for child in self.children if child not in stopping]
        for child in stopping:
            child.process.terminate()
        deadline = time.monotonic() + timeout_s
        for child in reversed(stopping):
            end(child.process, max(0.1, deadline - time.monotonic()))
