"""Processes killed with SIGKILL at the nth step: before or after any statement or S3 call."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy import event

from app import create_app
from portal.config import Settings
from portal.db import db
from portal.infra import storage

TIMES = int(os.environ.get("KILLS", "1"))  # how often each step is killed
HANGS_AFTER_S = 50
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.crashes"])


@dataclass(frozen=True)
class Steps:
    """The steps at which an action is killed; iterate until the action survives to its end."""

    numbers: Sequence[int]

    def __iter__(self) -> Iterator[int]:
        for step in self.numbers:
            yield from [step] * TIMES
        raise AssertionError("it never lived to the end")

    def assert_found(self, deaths: int, *, at_least: int) -> None:
        """Assert that the action has that many steps; otherwise nothing was killed, and nothing shown."""
        assert deaths >= TIMES * sum(step < at_least for step in self.numbers), "the steps were not found"


SOME_STEPS = Steps([6, 36, 300])
EVERY_STEP = Steps(range(1, 400))


def dies_at(step: int, settings: Settings, action: Callable[..., Any], *args: Any) -> bool:
    """Run `action(*args)` in another process; return True if it survived to the end.

    It is killed at its nth step, so a caller counts up until one survives."""
    host = _host(settings)
    host.send((step, action, args))
    assert host.poll(HANGS_AFTER_S + 10), f"step {step}: it hangs"
    status = host.recv()
    assert status in (0, -signal.SIGKILL), f"step {step}: it ended with {status}"
    return bool(status == 0)


@cache
def _host(settings: Settings) -> Connection:
    """Return the channel to a process that has an app ready and forks what is to die: an app takes half a second."""
    ours, theirs = FORKSERVER.Pipe()
    FORKSERVER.Process(target=_serve, args=(settings, theirs), daemon=True).start()
    return ours


def _serve(settings: Settings, caller: Connection) -> None:
    app = create_app(settings)
    while True:
        step, action, args = caller.recv()
        child = os.fork()
        if not child:
            signal.alarm(HANGS_AFTER_S)
            with app.app_context():
                _die_at(step)
                action(*args)
            os._exit(0)
        caller.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _die_at(step: int) -> None:
    """Make this process kill itself at its nth step."""
    left = step

    def count_down(*_: Any, **__: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(db.engine, moment, count_down)
    event.listen(db.session, "after_commit", count_down)
    for moment in ("before-call.s3", "after-call.s3"):
        storage.uploads._client.meta.events.register(moment, count_down)
