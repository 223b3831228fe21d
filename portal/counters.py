"""Counting calls for all processes together: in Redis, and in memory where that is away."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from limits.storage import MemoryStorage, RedisStorage, Storage
from redis import RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.patience import patience

P = ParamSpec("P")
R = TypeVar("R")

ELSE_MEMORY = "else-memory+"  # before the address of a Redis, as the limiter wants to be told
OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": 1,  # seconds, once: Redis answers at once or it isn't there (decision 8)
    "socket_timeout": 1,
    "retry": Retry(NoBackoff(), 0),
}


class RedisElseMemory(RedisStorage):
    """Counts in Redis, and in memory where that is away: from nothing, so at worst an allowance is had twice.

    Flask-Limiter's own fallback lets the call that finds Redis away wait twice, and those beside it fail.
    """

    STORAGE_SCHEME = [ELSE_MEMORY + scheme for scheme in ("redis", "rediss", "unix")]  # noqa: RUF012 (as its parent's)

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri.removeprefix(ELSE_MEMORY), **options)
        self.memory = MemoryStorage()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._either(super().incr, self.memory.incr, key, expiry, amount)

    def get(self, key: str) -> int:
        return self._either(super().get, self.memory.get, key)

    def get_expiry(self, key: str) -> float:
        return self._either(super().get_expiry, self.memory.get_expiry, key)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self._either(super().acquire_entry, self.memory.acquire_entry, key, limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return self._either(super().get_moving_window, self.memory.get_moving_window, key, limit, expiry)

    def _either(self, redis: Callable[P, R], memory: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with patience.ask():
                return redis(*args, **kwargs)
        except RedisError:
            return memory(*args, **kwargs)


def counters(redis_url: str | None) -> Storage:
    """Return where to count, given the address of this installation's Redis."""
    return RedisElseMemory(redis_url, **OPTIONS) if redis_url else MemoryStorage()
