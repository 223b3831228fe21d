"""What runs in the background. A job is one line over a verb of the domain; `portal.infra.jobs` names them all."""

import logging
import time
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from flask import Flask

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("workers")


@cache
def app() -> Flask:
    """The app of this process, made once: a work-horse finds it ready after the fork."""
    from app import create_app

    return create_app()


def job(function: Callable[P, R]) -> Callable[P, None]:
    """Run a function in an app context of its own. What it returns stays out of Redis."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        began = time.perf_counter()
        with app().app_context():
            function(*args, **kwargs)
        call = f"{function.__name__}({', '.join(map(str, args))})"
        log.info("%s: %.2f s", call, time.perf_counter() - began)

    return run
