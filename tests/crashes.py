"""A process that is killed with -9 at the nth step of what it does: before or after any statement or S3 call."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from app import create_app
from portal import storage
from portal.config import Settings
from portal.db import db

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.crashes"])


def dies_at(step: int, settings: Settings, action: Callable[..., Any], *args: Any) -> bool:
    """Run `action(*args)` in a child with an app of its own; True when it lived to the end.

    The child is killed at its nth step, so a caller counts up until one lives.
    """
    child = FORKSERVER.Process(target=_run, args=(step, settings, action, args))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL), f"step {step}: it ended with {child.exitcode}"
    return child.exitcode == 0


def _run(step: int, settings: Settings, action: Callable[..., Any], args: tuple[Any, ...]) -> None:
    left = step

    def count_down(*_: Any, **__: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    app = create_app(settings)
    with app.app_context():
        for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(db.engine, moment, count_down)
        event.listen(db.session, "after_commit", count_down)
        for moment in ("before-call.s3", "after-call.s3"):
            storage.uploads._client.meta.events.register(moment, count_down)
        action(*args)
