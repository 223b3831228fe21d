"""A circuit breaker for Redis: after a failure nobody waits for it for a moment, then one caller looks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionError, TimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

OPEN_FOR_S = 2.0
OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 1,  # seconds, once: Redis answers at once, or it is away
    "socket_timeout": 1,
    "retry": Retry(NoBackoff(), 0),
    "driver_info": None,  # else each new connection, so each work-horse, parses redis-py's own package metadata
}
"""Of a Redis client whose caller has better things to do than wait."""


class Breaker:
    """Closed, it lets calls through; a failure opens it for OPEN_FOR_S; then one call tries for all."""

    def __init__(self) -> None:
        self._half_open_at = 0.0  # by the monotonic clock; 0: closed

    @contextmanager
    def call(self) -> Iterator[None]:
        """Ask Redis inside the block. Raises RedisError: at once while the breaker is open."""
        now_s = time.monotonic()
        if self._half_open_at > now_s:
            raise ConnectionError("Redis was away a moment ago")
        if self._half_open_at:
            self._half_open_at = now_s + OPEN_FOR_S  # this caller tries for all: nobody waits beside it
        try:
            yield
        except (ConnectionError, TimeoutError):
            self._half_open_at = time.monotonic() + OPEN_FOR_S
            raise
        self.close()

    def close(self) -> None:
        """Let calls through again: after a success, and for a new client, maybe to another Redis."""
        self._half_open_at = 0.0


breaker = Breaker()
"""One for all of this process: a request that has waited once, to be counted, doesn't wait again to enqueue."""
