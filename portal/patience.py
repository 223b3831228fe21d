"""How long we wait for a Redis that hangs: once, for a second; then nobody asks it for a moment (decision 8)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionError, TimeoutError
from redis.backoff import NoBackoff
from redis.retry import Retry

PAUSE_S = 2.0  # then one caller looks whether it is back
OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 1,  # seconds, once: Redis answers at once or it isn't there
    "socket_timeout": 1,
    "retry": Retry(NoBackoff(), 0),
    "driver_info": None,  # else each new connection, so each work-horse, parses redis-py's own package metadata
}
"""Of a Redis client whose caller has better things to do than wait."""


class Patience:
    """Lets callers ask Redis, and spares them where it failed a moment ago."""

    def __init__(self) -> None:
        self._asked_again_at = 0.0  # by the monotonic clock; 0: it answered last

    @contextmanager
    def ask(self) -> Iterator[None]:
        """Ask Redis inside the block. Raises RedisError: at once where it is known to be away."""
        now_s = time.monotonic()
        if self._asked_again_at > now_s:
            raise ConnectionError("Redis was away a moment ago")
        if self._asked_again_at:
            self._asked_again_at = now_s + PAUSE_S  # this caller looks for all: nobody waits beside it
        try:
            yield
        except (ConnectionError, TimeoutError):
            self._asked_again_at = time.monotonic() + PAUSE_S
            raise
        self.forget()

    def forget(self) -> None:
        """Ask as if it had always answered: for a new client, to another Redis maybe."""
        self._asked_again_at = 0.0


patience = Patience()
"""One for all of this process: who has waited to be counted doesn't wait again to ring."""
