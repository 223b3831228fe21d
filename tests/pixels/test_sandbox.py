"""Sandboxed child processes: a crash inside comes back as a refusal, and nothing is left behind."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from portal.pixels import sandbox
from portal.pixels.inspect import RejectedFile, inspect
from portal.pixels.rejection import is_transient
from portal.pixels.render import render, resize
from portal.pixels.sandbox import limit_this_process, run
from tests.pixels.files import LIMITS, drawn, halves, png
from tests.processes import lives, started, until

MB = 1024 * 1024
QUICK = {"cpu_s": 5, "memory_bytes": 256 * MB, "timeout_s": 5}


def burn() -> None:
    while True:
        pass


def hold(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def crash(number: int) -> None:
    os.kill(os.getpid(), number)


def refuse() -> None:
    raise RejectedFile("too_many_scans", "The picture is drawn in too many passes.")


def fail() -> None:
    raise LookupError("a bug")


def answer_with_a_function() -> object:
    return lambda: None


def limit_and_hold(size_bytes: int) -> int:
    limit_this_process(cpu_s=5, memory_bytes=50 * MB)
    return hold(size_bytes)


def children() -> list[psutil.Process]:
    """The fork server and its children, without servers and browsers that other tests left running."""
    ours: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if _is_ours(process, {one.pid for one in ours}):
                ours.append(process)
    return ours


def _is_ours(process: psutil.Process, fork_servers: set[int]) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:  # no longer has a command line
        return process.ppid() in fork_servers
    return "import forkserver" in " ".join(process.cmdline())


def assert_the_fork_server_alone_is_left() -> None:
    """Its children are gone within moments, and no zombies."""

    def is_alone() -> bool:
        below = children()
        return len(below) <= 1 and all(process.status() != psutil.STATUS_ZOMBIE for process in below)

    until(is_alone)


def test_a_sandboxed_call_returns_the_same_as_a_plain_call() -> None:
    data = drawn("JPEG", halves(3000, 2000))
    picture = inspect(data)
    assert run(render, data, picture, 1, **LIMITS) == render(data, picture, 1)
    assert run(resize, data, picture, 320, "image/jpeg", **LIMITS) == resize(data, picture, 320, "image/jpeg")


def test_large_arguments_and_results_pass_through() -> None:
    data = os.urandom(12 * MB)
    assert run(bytes.swapcase, data, **LIMITS) == data.swapcase()


def test_an_exception_is_raised_in_the_caller() -> None:
    with pytest.raises(RejectedFile, match="too many passes") as rejected:
        run(refuse, **QUICK)
    assert rejected.value.code == "too_many_scans"
    with pytest.raises(LookupError, match="a bug"):
        run(fail, **QUICK)


def test_cpu_time_is_limited() -> None:
    with pytest.raises(RejectedFile) as rejected:
        run(burn, cpu_s=1, memory_bytes=256 * MB, timeout_s=20)
    assert rejected.value.code == "too_slow_to_open"


def test_wall_clock_time_is_limited() -> None:
    with pytest.raises(RejectedFile) as rejected:
        run(time.sleep, 10_000, cpu_s=5, memory_bytes=256 * MB, timeout_s=0.3)
    assert rejected.value.code == "too_slow_to_open"


def test_memory_is_limited_on_top_of_the_childs_baseline() -> None:
    assert run(hold, 50 * MB, **QUICK) == 50 * MB
    with pytest.raises(RejectedFile) as rejected:
        run(hold, 300 * MB, **QUICK)
    assert rejected.value.code == "too_large_to_open"


def test_a_picture_that_needs_too_much_memory_is_refused() -> None:
    data = png(7000, 7000)
    with pytest.raises(RejectedFile) as rejected:
        run(render, data, inspect(data), cpu_s=10, memory_bytes=100 * MB, timeout_s=10)
    assert rejected.value.code == "too_large_to_open"


def test_a_process_can_limit_itself() -> None:
    assert run(limit_and_hold, 10 * MB, **LIMITS) == 10 * MB
    with pytest.raises(RejectedFile) as rejected:
        run(limit_and_hold, 100 * MB, **LIMITS)
    assert rejected.value.code == "too_large_to_open"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGSEGV, "damaged"), (signal.SIGABRT, "damaged"), (signal.SIGKILL, "opening_interrupted")],
)
def test_a_crash_is_a_refusal_and_the_next_call_works(number: int, code: str) -> None:
    with pytest.raises(RejectedFile) as rejected:
        run(crash, number, **QUICK)
    assert rejected.value.code == code
    assert run(len, b"four", **QUICK) == 4


def test_a_result_that_cannot_be_pickled_is_an_error_not_a_hang() -> None:
    with pytest.raises((AttributeError, TypeError, Exception), match="pickle"):
        run(answer_with_a_function, **QUICK)


@pytest.mark.slow
def test_many_threads_may_call_concurrently() -> None:
    data = drawn("JPEG", halves(800, 600))
    picture = inspect(data)
    expected = render(data, picture)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(run, render, data, picture, **LIMITS) for _ in range(12)]
        crashes = [pool.submit(run, crash, signal.SIGSEGV, **QUICK) for _ in range(4)]
        assert all(call.result() == expected for call in calls)
        assert all(isinstance(call.exception(), RejectedFile) for call in crashes)
    assert_the_fork_server_alone_is_left()


def test_no_zombie_and_no_descriptor_is_left() -> None:
    run(len, b"", **QUICK)
    open_before = psutil.Process().num_fds()
    for _ in range(20):
        run(len, b"", **QUICK)
    with pytest.raises(RejectedFile):
        run(crash, signal.SIGSEGV, **QUICK)
    assert psutil.Process().num_fds() == open_before
    assert_the_fork_server_alone_is_left()


def test_a_killed_fork_server_is_started_again() -> None:
    run(len, b"", **QUICK)
    for process in children():
        process.kill()
        process.wait(timeout=30)
    assert run(len, b"four", **QUICK) == 4
    assert_the_fork_server_alone_is_left()


def test_a_call_whose_fork_server_is_killed_may_be_repeated() -> None:
    run(len, b"", **QUICK)
    (server,) = children()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(run, time.sleep, 10_000, cpu_s=60, memory_bytes=256 * MB, timeout_s=600)
        until(lambda: len(children()) == 2)
        server.kill()
        error = call.exception(timeout=60)
    assert isinstance(error, RejectedFile) and is_transient(error)
    assert run(len, b"four", **QUICK) == 4


def test_a_forked_process_has_a_fork_server_of_its_own() -> None:
    """As a work-horse does, forked from a worker that had used one."""
    run(len, b"", **QUICK)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # we wait for it without a limit
        try:
            good = run(len, b"four", **QUICK) == 4
            sandbox._stop_forkserver()
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert run(len, b"four", **QUICK) == 4


CALLER = """
import time
from portal.pixels.sandbox import run
run(time.sleep, 10_000, cpu_s=60, memory_bytes=2**28, timeout_s=10_000)
"""


def test_children_die_with_their_caller() -> None:
    with started("-c", CALLER) as caller:
        below: list[psutil.Process] = []

        def the_fork_server_and_the_sleeper() -> bool:
            below[:] = psutil.Process(caller.pid).children(recursive=True)
            return len(below) == 2

        until(the_fork_server_and_the_sleeper)
        caller.kill()
        until(lambda: not any(lives(process.pid) for process in below))


def test_a_call_forks_a_process_that_has_loaded_the_decoders() -> None:
    loaded = "'PIL.JpegImagePlugin' in __import__('sys').modules"
    assert run(eval, loaded, **QUICK)
    assert len({run(os.getppid, **QUICK) for _ in range(5)}) == 1


def main_module() -> str:
    return str(getattr(sys.modules["__main__"], "__file__", "none"))


def test_the_callers_main_script_is_not_run_again() -> None:
    assert run(main_module, **QUICK) == "none"
    assert "__mp_main__" not in run(list, ["x"], **QUICK)
