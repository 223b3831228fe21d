"""Background jobs, each a thin wrapper around a function of the domain. `portal.infra.jobs` lists them all."""

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
    """Return this process's app, created once, so that a work-horse inherits it through the fork."""
    from app import create_app

    return create_app()


def job(function: Callable[P, R]) -> Callable[P, None]:
    """Decorate a job: run it in an app context, log how long it took, and keep its result out of Redis."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        began = time.perf_counter()
        with app().app_context():
            function(*args, **kwargs)
        call = f"{function.__name__}({', '.join(map(str, args))})"
        log.info("job done: %s in %.2f s", call, time.perf_counter() - began)

    return run
