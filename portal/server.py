"""Gunicorn settings (`gunicorn --config python:portal.server`): threaded workers that share one loaded app."""

from typing import Any

from portal.config import from_environment
from portal.infra.processes import die_with_parent, return_freed_memory

_settings = from_environment()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

wsgi_app = "app:create_app()"
bind = f"{_host}:{_settings.port}"
worker_class = "gthread"
workers = 2  # one serves while the other restarts; photos bypass the web server, so more would not help
threads = _settings.web_threads
preload_app = True  # imports and the S3 client are loaded once, before the fork
timeout = 60  # seconds without a heartbeat of the worker
graceful_timeout = 5  # seconds to finish requests when stopping
keepalive = 5
control_socket_disable = True
loglevel = "warning"


def post_fork(server: Any, worker: Any) -> None:
    """Have the worker die with its parent, and not share the parent's database connections."""
    die_with_parent(server.pid)
    return_freed_memory()
    from portal.db import db

    with worker.app.wsgi().app_context():
        for engine in db.engines.values():
            engine.dispose(close=False)
