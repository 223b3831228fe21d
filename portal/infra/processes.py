"""Processes that stop on SIGTERM and SIGINT, and child processes that die with their parent.

A child dies even if the parent is killed with SIGKILL. Run as a script, this file ties a command to its parent:
`python processes.py PARENT_PID COMMAND …`. It replaces subprocess's preexec_fn, which may deadlock in a parent with
threads.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NEEDED = (signal.SIGCHLD, signal.SIGALRM)  # without them, waiting for a child or a timer would never end
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
ARENAS = 2  # instead of eight per core; Python's own lock makes threads take turns anyway
MMAP_THRESHOLD_BYTES = 1024 * 1024  # more than most delivered photos have
TRIM_THRESHOLD_BYTES = 2 * 1024 * 1024


def on_stop(handler: Callable[[int, FrameType | None], Any]) -> None:
    """Have SIGTERM and SIGINT call `handler`, whatever signal settings were inherited.

    A shell starts background commands with SIGINT ignored, and Python leaves it ignored. A parent may also have blocked
    any signal, or ignored SIGCHLD, and then the kernel reports no child's exit status.
    """
    for number in _NEEDED:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in STOP_SIGNALS:
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOP_SIGNALS, *_NEEDED})


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; exit if the parent is gone already.

    Except on Linux, this only checks the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl took effect
        os._exit(1)


def return_freed_memory() -> None:
    """Have glibc's malloc return large freed blocks to the kernel. Does nothing on other C libraries.

    By default its thresholds grow with the largest block that was freed, up to 32 MB, and then the arena of each thread
    keeps up to twice that much. Setting them ends the growth. A block above MMAP_THRESHOLD_BYTES costs about 1 ms per
    MB more, for page faults, and an arena keeps at most TRIM_THRESHOLD_BYTES at its end.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl and macOS have none
    if mallopt:
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def tied_to_us(command: list[str]) -> list[str]:
    """Wrap a command so that it dies with this process.

    The kernel watches the thread that starts the command: use one that lives as long as the process.
    """
    return [sys.executable, "-I", "-S", os.path.realpath(__file__), str(os.getpid()), *command]


def _watch(parent_pid: int, command: list[str]) -> int:
    """Run a command and poll the parent twice a second, on kernels without a parent-death signal (macOS, BSD)."""
    import subprocess  # takes 20 ms, and only this function needs it

    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: child.send_signal(got))
    while child.poll() is None:
        if os.getppid() != parent_pid:
            child.kill()
        time.sleep(0.5)
    return child.returncode


if __name__ == "__main__":
    parent, *rest = sys.argv[1:]
    die_with_parent(int(parent))
    on_stop(signal.SIG_DFL)  # type: ignore[arg-type]  # an ignored or blocked signal would outlive the exec
    if sys.platform != "linux":
        sys.exit(_watch(int(parent), rest))
    os.execvp(rest[0], rest)
