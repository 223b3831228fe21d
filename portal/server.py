"""Gunicorn's settings (`gunicorn --config python:portal.server`): threads, one load of the app."""

from typing import Any

from portal.config import from_environment
from portal.infra.processes import die_with_parent

_settings = from_environment()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

wsgi_app = "app:create_app()"
bind = f"{_host}:{_settings.port}"
worker_class = "gthread"
workers = 2  # one goes on while the other is restarted; photos don't pass here, so more gain nothing
threads = _settings.web_threads
preload_app = True  # imports and the S3 client, once, before the fork
timeout = 60  # seconds without a sign of life
graceful_timeout = 5  # seconds for answers under way at a stop
keepalive = 5
control_socket_disable = True
loglevel = "warning"


def post_fork(server: Any, worker: Any) -> None:
    """No life and no database connection of the parent's."""
    die_with_parent(server.pid)
    from portal.db import db

    with worker.app.wsgi().app_context():
        for engine in db.engines.values():
            engine.dispose(close=False)
