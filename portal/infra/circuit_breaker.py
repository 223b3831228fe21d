"""A circuit breaker for Redis: after a failure, calls fail immediately for a while, then one call tries again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionError, TimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

OPEN_FOR_S = 2.0
OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 1,  # seconds; Redis answers within milliseconds or is down
    "socket_timeout": 1,
    "retry": Retry(NoBackoff(), 0),
    "driver_info": None,  # otherwise each new connection, and so each work-horse, parses redis-py's package metadata
}
"""Options of a Redis client that must fail fast."""


class Breaker:
    """While closed, calls pass; a failure opens it for OPEN_FOR_S; then one call tests whether Redis is back."""

    def __init__(self) -> None:
        self._half_open_at = 0.0  # on the monotonic clock; 0: closed

    @contextmanager
    def call(self) -> Iterator[None]:
        """Guard the calls to Redis inside the block. Raises RedisError, immediately while the breaker is open."""
        now_s = time.monotonic()
        if self._half_open_at > now_s:
            raise ConnectionError("The circuit breaker is open: Redis failed a moment ago.")
        if self._half_open_at:
            self._half_open_at = now_s + OPEN_FOR_S  # this call tests Redis, all others still fail fast
        try:
            yield
        except (ConnectionError, TimeoutError):
            self._half_open_at = time.monotonic() + OPEN_FOR_S
            raise
        self.close()

    def close(self) -> None:
        """Let calls pass again: after a success, and when a new client is connected."""
        self._half_open_at = 0.0


breaker = Breaker()
"""Shared by the whole process: a request that waited once, for its rate limit, doesn't wait again to enqueue."""
