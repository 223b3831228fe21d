"""Log lines with time, level, host, process and request. What repeats is written once and counted."""

import copy
import logging
import math
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import IO
from uuid import uuid4

from flask import Flask, Response, g, has_request_context, request

FORMAT = "%(asctime)s %(levelname)s %(host)s %(process)d %(request)s %(message)s"
WINDOW_S = 60.0  # in which a repeated warning is written once
SHOWN_PER_WINDOW = 5  # different warnings of one place in the code; further ones are counted only
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
NO_REQUEST = "-"
_HOST = socket.gethostname()


def configure(prefix: str = "", level: int = logging.WARNING, stream: IO[str] | None = None) -> None:
    """Write all log lines of this process to one stream, standard output unless given. Each begins with `prefix`."""
    handler = CountingHandler(stream or sys.stdout)
    handler.setFormatter(UtcFormatter(prefix + FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def init_app(app: Flask) -> None:
    """Give each request an id, its own or that of a proxy, which its log lines and its response carry."""
    app.before_request(_name_request)
    app.after_request(_add_request_id)


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex[:12]


def _add_request_id(response: Response) -> Response:
    if not response.cache_control.public:  # a CDN would give it to other requests
        response.headers["X-Request-Id"] = g.request_id
    return response


class UtcFormatter(logging.Formatter):
    """Adds the host and the request; times are UTC, to the millisecond."""

    converter = time.gmtime  # type: ignore[assignment]  # typeshed knows only the other one, localtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        record.host = _HOST
        record.request = g.get("request_id", NO_REQUEST) if has_request_context() else NO_REQUEST
        return super().format(record)


@dataclass
class _Window:
    """What one place in the code has logged since `began`, in Unix time."""

    began: float
    shown: set[str] = field(default_factory=set)
    last: logging.LogRecord | None = None  # of those that were only counted
    count: int = 0


class CountingHandler(logging.StreamHandler[IO[str]]):
    """Writes a warning or error that repeats within WINDOW_S once, and how often it came with the next line after that.

    An outage would otherwise write thousands of lines, one or more a request.
    """

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._windows: dict[tuple[str, int], _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._write_counts(record.created)
        if record.levelno < logging.WARNING or self._is_news(record):
            super().emit(record)

    def close(self) -> None:
        """Write the counts that are left: `logging.shutdown` closes the handlers when the process ends."""
        self._write_counts(math.inf)
        super().close()

    def _is_news(self, record: logging.LogRecord) -> bool:
        window = self._windows.setdefault((record.pathname, record.lineno), _Window(record.created))
        message = record.getMessage()
        if message not in window.shown and len(window.shown) < SHOWN_PER_WINDOW:
            window.shown.add(message)
            return True
        window.last, window.count = record, window.count + 1
        return False

    def _write_counts(self, at: float) -> None:
        for place, window in list(self._windows.items()):
            if at - window.began >= WINDOW_S:
                del self._windows[place]
                if window.last:
                    super().emit(_counted(window.last, window.count))


def _counted(record: logging.LogRecord, count: int) -> logging.LogRecord:
    """Return a record that repeats another one's message, without its traceback."""
    counted = copy.copy(record)
    counted.msg, counted.args = f"{record.getMessage()} (and {count} more like it)", ()
    counted.exc_info = counted.exc_text = counted.stack_info = None
    return counted
