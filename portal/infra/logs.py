"""Log lines with time, level, host, process and request. What repeats is written once and counted."""

import copy
import logging
import math
import re
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import IO
from uuid import uuid4

from flask import Flask, Response, g, has_request_context, request
from redis import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.errors import StorageFailed

FORMAT = "%(asctime)s %(levelname)s %(host)s %(process)d %(request)s %(message)s"
WINDOW_S = 60.0  # in which a repeated warning is written once
SHOWN_PER_WINDOW = 5  # different warnings of one place in the code; further ones are counted only
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
NO_REQUEST = "-"
OUTAGES = (OperationalError, InterfaceError, PoolTimeout, RedisError, StorageFailed)
"""Errors that a part which is away causes everywhere: a traceback says nothing more than their name."""
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
        if record.exc_info and isinstance(record.exc_info[1], OUTAGES):
            record = _without_traceback(record, f"{record.getMessage()}: reason={type(record.exc_info[1]).__name__}")
        record.host = _HOST
        record.request = g.get("request_id", NO_REQUEST) if has_request_context() else NO_REQUEST
        return super().format(record)


@dataclass
class _Window:
    """What one place in the code has logged since `began`, in Unix time."""

    began: float
    shown: set[tuple[object, ...]] = field(default_factory=set)
    last: logging.LogRecord | None = None  # of those that were only counted; without its traceback
    count: int = 0


class CountingHandler(logging.StreamHandler[IO[str]]):
    """Writes a warning or error that repeats within WINDOW_S once, and later how often it came.

    That count is written before the first line that follows WINDOW_S, whatever that line is about.
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
        key = (message, *_origin(record))
        if key not in window.shown and len(window.shown) < SHOWN_PER_WINDOW:
            window.shown.add(key)
            return True
        window.last, window.count = _without_traceback(record, message), window.count + 1  # frames hold photos
        return False

    def _write_counts(self, at: float) -> None:
        for place, window in list(self._windows.items()):
            if at - window.began >= WINDOW_S:
                del self._windows[place]
                if window.last:
                    message = f"{window.last.getMessage()} (and {window.count} more like it)"
                    super().emit(_without_traceback(window.last, message))


def _origin(record: logging.LogRecord) -> tuple[object, ...]:
    """Return an error's type and the place that raised it; an outage has no place, as it breaks everything."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None or isinstance(error, OUTAGES):
        return (type(error),)
    frames = list(traceback.walk_tb(error.__traceback__))
    return (type(error), frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else (type(error),)


def _without_traceback(record: logging.LogRecord, message: str) -> logging.LogRecord:
    """Return a copy of a record with another message, on one line."""
    short = copy.copy(record)
    short.msg, short.args = message, ()
    short.exc_info = short.exc_text = short.stack_info = None
    return short
