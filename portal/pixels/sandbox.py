"""Run decoders in child processes: a crash, a bomb or a slow file costs only a child; the caller gets RejectedFile."""

import atexit
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from portal.pixels.forkserver import STATUS, limit_this_process
from portal.pixels.rejection import RejectedFile, damaged, interrupted, too_large_to_open, too_slow_to_open

__all__ = ["LARGE_PAGES", "limit_this_process", "run"]

T = TypeVar("T")

LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # measured: 5,000 page faults per photo, not 18,000
_GRACE_S = 2  # a child is killed by its own timer; we wait this much longer for its status
_ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}  # further arenas, for threads, would count against the memory limit
_RUN = "import sys; sys.path[:] = sys.argv[1:]; from portal.pixels import forkserver; forkserver.serve({}, {!r})"
_PRELOADED = "portal.pixels.derive"  # by name: importing it here would be circular, as inspecting uses the sandbox


def run(function: Callable[..., T], *args: object, cpu_s: float, memory_bytes: int, timeout_s: float) -> T:
    """Run a top-level function in a child with limits; return its result or raise its exception.

    `memory_bytes` is in addition to what a child inherits, `timeout_s` is wall-clock time. If the child dies, raises
    `RejectedFile` with the reason too_slow_to_open, opening_interrupted or damaged; if it runs out of its
    memory, with too_large_to_open. Thread-safe.
    """
    limits = pickle.dumps((sys.path, cpu_s, memory_bytes, timeout_s))
    work = pickle.dumps((function, args), protocol=5)
    child, report = _new_child()
    try:
        child.send_bytes(limits)
        child.send_bytes(work)
        if not child.poll(timeout_s + _GRACE_S):
            raise too_slow_to_open()
        raised, result = pickle.loads(child.recv_bytes())
    except (EOFError, OSError) as error:
        raise _cause_of_death(report) from error
    finally:
        child.close()
        os.close(report)
    if raised:
        raise too_large_to_open() if isinstance(result, MemoryError) else result
    return result  # type: ignore[no-any-return]


_lock = threading.Lock()
_forkserver: tuple[socket.socket, subprocess.Popen[bytes]] | None = None


def _new_child() -> tuple[Connection, int]:
    """Return a connection to a new child, and the descriptor that will receive its exit status."""
    ours, theirs = socket.socketpair()
    report, reporter = os.pipe()
    try:
        with _lock:
            _request_child([theirs.fileno(), reporter])
    finally:
        theirs.close()
        os.close(reporter)
    return Connection(ours.detach()), report


def _request_child(fds: list[int]) -> None:
    global _forkserver
    if _forkserver:
        try:
            socket.send_fds(_forkserver[0], [b"1"], fds)
            return
        except OSError:  # the fork server was killed: start another
            _stop_forkserver()
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", _RUN.format(theirs.fileno(), _PRELOADED), *sys.path]
    with theirs:
        forkserver = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C must reach only the caller, which may still wait for a child
            env=LARGE_PAGES | os.environ | _ONE_ARENA,
        )
    _forkserver = ours, forkserver
    socket.send_fds(ours, [b"1"], fds)


def _stop_forkserver() -> None:
    """Kill the fork server; its children die with it."""
    global _forkserver
    if _forkserver:
        _forkserver[0].close()
        _forkserver[1].kill()
        _forkserver[1].wait()
    _forkserver = None


def _forget_forkserver() -> None:
    """Drop the parent's fork server after a fork, so that this process starts one itself and keeps none alive."""
    global _forkserver, _lock
    if _forkserver:
        _forkserver[0].close()
        _forkserver[1].returncode = 0  # not our child
    _forkserver, _lock = None, threading.Lock()


def _cause_of_death(report: int) -> RejectedFile:
    ready, _, _ = select.select([report], [], [], _GRACE_S)
    ended = os.read(report, STATUS.size) if ready else b""
    if not ended:  # the fork server was killed
        return interrupted()
    match os.WTERMSIG(STATUS.unpack(ended)[0]):
        case signal.SIGXCPU | signal.SIGALRM:
            return too_slow_to_open()
        case signal.SIGKILL | signal.SIGTERM | 0:  # the machine ran out of memory, or nobody was left to answer
            return interrupted()
        case _:
            return damaged()


atexit.register(_stop_forkserver)
os.register_at_fork(after_in_child=_forget_forkserver)
