"""Gunicorn's settings of the product, for the tiny app."""

from typing import Any

from portal.infra.processes import die_with_parent
from portal.server import *  # noqa: F403

wsgi_app = "tests.server.tiny:asgi()"
workers = 1  # so that a test finds what an earlier request left


def post_fork(server: Any, worker: Any) -> None:
    """Unlike the product's app, the tiny one has no database."""
    die_with_parent(server.pid)
