"""The fork server: a single-threaded process with the decoders loaded, from which sandboxed children are forked.

It doesn't contain the application. multiprocessing's fork server won't do: each of its children imports the main
script, here a web server.
"""

import ctypes
import gc
import importlib
import math
import os
import pickle
import resource
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NoReturn

from PIL import Image

STATUS = struct.Struct("i")  # a child's exit status, as returned by waitpid
_STARTUP_S = 10  # limit from the fork to the first message, which has the actual limit
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(control_fd: int, *preloaded: str) -> None:
    """Fork a child for each pair of descriptors (its connection, its status report), until the caller is gone.

    The `preloaded` modules are imported before the first fork, so that no child has to import them.
    """
    for name in preloaded:
        importlib.import_module(name)
    Image.preinit()  # Pillow's plug-ins, for the same reason: saves 3 ms per child

    control, (wake, woken) = socket.socket(fileno=control_fd), socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGALRM})  # in case our parent blocked them
    gc.freeze()  # otherwise the collector would copy memory that the children share
    reports: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is wake:
                    wake.recv(4096)
                    _reap(reports)
                elif not _fork(control, reports):
                    return


def limit_this_process(cpu_s: float, memory_bytes: int) -> None:
    """Limit the CPU time and memory that this process may use in addition to its present use.

    Beyond its CPU time the kernel kills it (SIGXCPU); beyond its memory, decoders raise MemoryError.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu_s))
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # elsewhere the size of the address space is no measure of memory
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)


def _fork(control: socket.socket, reports: dict[int, int]) -> bool:
    message, fds, _, _ = socket.recv_fds(control, 1, 2)
    if not message:
        return False
    connection, report = fds
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(parent, connection)
    os.close(connection)
    reports[child] = report
    return True


def _reap(reports: dict[int, int]) -> None:
    while reports:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        report = reports.pop(child)
        with suppress(OSError):  # the caller has its answer, or is gone
            os.write(report, STATUS.pack(status))
        os.close(report)


def _run_child(parent: int, connection: int) -> NoReturn:
    """Run as a child, and never return: the child must not go on as a second server."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _STARTUP_S)
        _die_with(parent)
        _answer(Connection(connection))
    finally:
        os._exit(0)


def _answer(caller: Connection) -> None:
    """Read the limits, then a function and its arguments; send (whether it raised, its result or exception)."""
    sys.path[:], cpu_s, memory_bytes, timeout_s = pickle.loads(caller.recv_bytes())
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    limit_this_process(cpu_s, memory_bytes)
    try:
        function, args = pickle.loads(caller.recv_bytes())
        answer = pickle.dumps((False, function(*args)), protocol=5)
    except BaseException as error:
        answer = pickle.dumps((True, error))
    caller.send_bytes(answer)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl took effect
        os._exit(1)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
