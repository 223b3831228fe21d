"""Jobs that only the tests' workers run: each appends notes to a file."""

import os
import signal
import time


def note(path: str, word: str = "done") -> None:
    with open(path, "a") as file:
        file.write(f"{word} {os.getpid()} {time.monotonic()}\n")


def slow(path: str, tenths: int, number: str = "") -> None:
    note(path, f"begin{number}")
    time.sleep(tenths / 10)
    note(path, f"end{number}")


def hold(path: str) -> None:
    """Begin, and end when the test opens the gate."""
    note(path, "begin")
    end = time.monotonic() + 60
    while not os.path.exists(f"{path}.gate") and time.monotonic() < end:
        time.sleep(0.02)
    note(path, "end")


def kill_horse(path: str) -> None:
    note(path, "begin")
    os.kill(os.getpid(), signal.SIGKILL)


def kill_horse_once(path: str) -> None:
    """Die at the first attempt, as when the kernel needs the memory."""
    first = not os.path.exists(path)
    note(path, "begin")
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    note(path, "end")


def kill_worker(path: str) -> None:
    note(path, "begin")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)
    note(path, "outlived its worker")


def shrug(path: str) -> None:
    """Take any failure for a fault of the file, as a decoder's caller must."""
    note(path, "begin")
    for _ in range(50):
        try:
            time.sleep(0.2)
        except Exception:
            note(path, "shrugged")
