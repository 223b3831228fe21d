"""Processes that a test starts; each is gone when its block ends, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from portal.config import Settings
from portal.infra.processes import tied_to_us

ROOT = Path(__file__).parents[1]
WITHIN_S = 60.0


@contextmanager
def started(*command: str, env: Mapping[str, str] | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program, `-m module …` or a file, alongside the test; its output is one text, `stdout`.

    It dies with this process too, so callers need no clean-up."""
    process = subprocess.Popen(
        tied_to_us([sys.executable, *command]),
        cwd=options.pop("cwd", ROOT),
        env=os.environ | dict(env or {}),
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        kill(process)


def environment_of(settings: Settings, app: Flask) -> dict[str, str]:
    """The environment of a process that works with the app's database and the tests' servers."""
    return {
        "DATA_DIR": str(settings.data_dir),
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"],
        "REDIS_URL": settings.redis_url or "",
        "S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "AWS_ACCESS_KEY_ID": settings.s3_access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key or "",
        "ALLOWED_PRIVATE_NETS": "127.0.0.0/8",
    }


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process, and read its pipes to the end."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)  # a stopped one is killed too, but its children would wait for it
        process.kill()
    process.communicate(timeout=WITHIN_S)


def until(holds: Callable[[], Any], within_s: float = WITHIN_S, every_s: float = 0.02) -> None:
    """Wait until something holds; the generous limit only prevents hanging, and promises no speed."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(every_s)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped doesn't."""
    state = _ps(pid, "stat")
    return bool(state) and not state.startswith("Z")


def parent_of(pid: int) -> int:
    return int(_ps(pid, "ppid"))


def descendants(of: int) -> dict[int, str]:
    """Process id → command line, of all descendants of a process."""
    command = ["ps", "-ww", "-eo", "pid=,ppid=,stat=,args="]
    rows = [line.split(None, 3) for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()]
    found: dict[int, str] = {}
    parents = {of}
    while parents:
        children = {int(pid): args for pid, parent, stat, args in rows if int(parent) in parents and stat[0] != "Z"}
        found |= children
        parents = set(children)
    return found


def _ps(pid: int, what: str) -> str:
    return subprocess.run(["ps", "-o", f"{what}=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
