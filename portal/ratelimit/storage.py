"""Counters of rate limits: shared in Redis, or in memory while Redis is down."""

import time
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from limits.storage import MemoryStorage, RedisStorage
from redis import RedisError

from portal.infra.redis_client import OPTIONS, breaker

P = ParamSpec("P")
R = TypeVar("R")

COUNT = b"""
local count = redis.call("INCR", KEYS[1])
if count == 1 then redis.call("EXPIRE", KEYS[1], ARGV[1]) end
return {count, redis.call("PTTL", KEYS[1])}
"""


class Count(NamedTuple):
    """The calls in a window so far, and the Unix time of the window's end."""

    calls: int
    ends_at: float


class Memory(MemoryStorage):
    """Counts in this process only."""

    STORAGE_SCHEME = ["frontage-memory"]  # noqa: RUF012 (as its parent's)

    def count(self, key: str, expiry: int) -> Count:
        return Count(self.incr(key, expiry), self.get_expiry(key))


class RedisWithMemoryFallback(RedisStorage):
    """Counts in Redis, or in memory while it is down. Memory starts at 0, so a limit may be used twice at worst."""

    STORAGE_SCHEME = ["frontage-redis"]  # noqa: RUF012 (as its parent's)

    def __init__(self, uri: str) -> None:
        super().__init__(uri, **OPTIONS)
        self.memory = Memory()
        self._script = self.get_connection().register_script(COUNT)

    def count(self, key: str, expiry: int) -> Count:
        """Count in one round trip; the library would take a second for the count and a third for the window's end."""
        return self._with_fallback(self._count_in_redis, self.memory.count, key, expiry)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self._with_fallback(super().acquire_entry, self.memory.acquire_entry, key, limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return self._with_fallback(super().get_moving_window, self.memory.get_moving_window, key, limit, expiry)

    def _count_in_redis(self, key: str, expiry: int) -> Count:
        calls, left_ms = self._script([self.prefixed_key(key)], [expiry])
        return Count(calls, time.time() + max(left_ms, 0) / 1000)

    def _with_fallback(self, redis: Callable[P, R], memory: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with breaker.call():
                return redis(*args, **kwargs)
        except RedisError:
            return memory(*args, **kwargs)


def counters(redis_url: str | None) -> RedisWithMemoryFallback | Memory:
    """Return the counters: in Redis if there is an address, else in memory."""
    return RedisWithMemoryFallback(redis_url) if redis_url else Memory()
