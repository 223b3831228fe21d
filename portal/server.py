"""Gunicorn settings (`gunicorn --config python:portal.server`): two processes that share one loaded app.

`portal/asgi` has the worker and the application.
"""

import signal
from typing import Any

from portal.asgi.worker import raise_file_limit
from portal.config import from_environment
from portal.infra import logs
from portal.infra.processes import die_with_parent, on_stop, return_freed_memory

_settings = from_environment()
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

wsgi_app = "app:create_asgi_app()"
bind = f"{_host}:{_settings.port}"
worker_class = "portal.asgi.worker.Worker"
workers = 2  # one serves while the other restarts; photos bypass the web server, so more would not help
preload_app = True  # imports and the S3 client are loaded once, before the fork
timeout = 60  # seconds without a heartbeat of the worker
graceful_timeout = 5  # seconds to finish requests when stopping
keepalive = 5
asgi_loop = "asyncio"  # whatever else is installed: this is what was tested, like the parser
http_parser = "python"
asgi_lifespan = "off"
asgi_disconnect_grace_period = 0  # a request that waits for a thread is given up when its client leaves
control_socket_disable = True
loglevel = "warning"
accesslog = "-" if _settings.access_log else None  # "-": standard output
access_log_format = '%({x-request-id}o)s %(h)s "%(m)s %(U)s" %(s)s %(B)s bytes %(M)s ms'  # a query may hold a token


def on_starting(server: Any) -> None:
    """Accept SIGTERM and SIGINT, whatever was inherited, and many connections; log in the format of all processes."""
    on_stop(signal.SIG_DFL)  # type: ignore[arg-type]  # gunicorn sets its own handlers next
    raise_file_limit()
    logs.configure()
    server.log.error_log.handlers.clear()
    server.log.error_log.propagate = True
    for handler in server.log.access_log.handlers:
        handler.setFormatter(logs.UtcFormatter(logs.FORMAT))


def post_fork(server: Any, worker: Any) -> None:
    """Have the worker die with its parent, and not share the parent's database connections."""
    die_with_parent(server.pid)
    return_freed_memory()
    from portal.db import db

    with worker.app.wsgi().flask.app_context():
        for engine in db.engines.values():
            engine.dispose(close=False)
