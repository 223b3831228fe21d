"""What all clients of Redis share, except RQ's workers: they fail fast, and while Redis is down, immediately."""

from typing import Any

from redis import ConnectionError, TimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.infra.circuit_breaker import Breaker

OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 0.25,  # seconds; Redis answers within milliseconds or is down
    "socket_timeout": 0.25,
    "retry": Retry(NoBackoff(), 0),
    "driver_info": None,  # otherwise each new connection, and so each work-horse, parses redis-py's package metadata
}

breaker = Breaker(
    (ConnectionError, TimeoutError),
    lambda: ConnectionError("The circuit breaker is open: Redis failed a moment ago."),
    threshold=1,
    open_for_s=2,
)
"""Shared by the whole process: a request that waited once, for its rate limit, doesn't wait again to enqueue."""
