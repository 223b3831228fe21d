"""The process that children are forked from: one thread, decoders loaded, nothing of the application in it.

Not multiprocessing's forkserver: each of its children imports the main script anew, here a web server.
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

STATUS = struct.Struct("i")  # how a child ended, as waitpid says it
_STARTUP_S = 10  # from fork to the first message, which says how long it may take
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(control_fd: int, *preloaded: str) -> None:
    """Fork a child for each pair (its connection, its report) that arrives, until the caller is gone.

    The `preloaded` modules are imported before the first fork, so that no child has to.
    """
    for name in preloaded:
        importlib.import_module(name)
    Image.preinit()  # the same for Pillow's readers: 3 ms a child

    control, (wake, woken) = socket.socket(fileno=control_fd), socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD, signal.SIGALRM})  # whoever started us blocked them
    gc.freeze()  # the collector would copy what children share
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
    """Limit what this process may still use, on top of what it has used and holds by now.

    Past its CPU time the kernel ends it (SIGXCPU); past its memory, decoders raise MemoryError.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu_s))
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # elsewhere the address space says nothing about memory
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
        with suppress(OSError):  # the caller has its answer, or has gone
            os.write(report, STATUS.pack(status))
        os.close(report)


def _run_child(parent: int, connection: int) -> NoReturn:
    """Be a child: whatever happens, don't go on as a second server."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _STARTUP_S)
        _die_with(parent)
        _answer(Connection(connection))
    finally:
        os._exit(0)


def _answer(caller: Connection) -> None:
    """Read the limits, then a function and its arguments; answer (did it raise?, what)."""
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
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
