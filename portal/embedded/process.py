"""Parts as child processes: start, wait until ready, end. They die with this process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from portal.infra.processes import tied_to_us

READY_TIMEOUT_S = 30  # SeaweedFS takes 0.7 s, on a busy machine ten times that


class CannotStart(Exception):
    """A part can't be started; the message is written for the operator."""


@dataclass(frozen=True)
class Part:
    """How to start one of the child processes, again after a crash too."""

    name: str
    command: list[str]
    settings: dict[str, str] = field(default_factory=dict, repr=False)  # how to reach it, named as in config.Settings
    is_ready: Callable[[], bool] = lambda: True
    env: dict[str, str] = field(default_factory=dict, repr=False)
    directory: Path | None = None
    runs_once: bool = False
    is_shown: Callable[[str], bool] = lambda line: True
    is_stuck: Callable[[str], bool] = lambda line: False  # whether a log line says that only a restart will help …
    can_restart: Callable[[], bool] = lambda: True  # … once this holds


@dataclass
class Server:
    """A running part. It dies with this process at the latest."""

    settings: dict[str, str] = field(repr=False)
    process: subprocess.Popen[bytes]

    def stop(self, timeout_s: float = 5) -> None:
        """Send SIGTERM, then SIGKILL: on a full disk SeaweedFS never exits by itself."""
        end(self.process, timeout_s)


def start(part: Part) -> Server:
    """Start a part and wait until it is ready. Raises CannotStart."""
    process = spawn(part)
    try:
        wait_until_ready(part, process)
    except BaseException:
        end(process, timeout_s=1)
        raise
    return Server(part.settings, process)


def spawn(part: Part, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a part in its own session, so that Ctrl-C reaches only this process, and have it die with us.

    Call it from the main thread: the part dies with the thread that starts it.
    """
    return subprocess.Popen(
        tied_to_us(part.command),
        env=os.environ | part.env,
        cwd=part.directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_until_ready(part: Part, process: subprocess.Popen[bytes]) -> None:
    """Wait until the part is ready. Raises CannotStart if it exits or takes too long."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not part.is_ready():
        if process.poll() is not None:
            raise CannotStart(f"{part.name} exited during startup with status {process.returncode}.")
        if time.monotonic() > deadline:
            raise CannotStart(f"{part.name} did not answer within {READY_TIMEOUT_S} s.")
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Send SIGTERM, and SIGKILL to the whole process group after the timeout."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
