"""How often a client may ask: one limiter for all entrances, counted in Redis, in memory where Redis is away."""

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, request
from flask_limiter import Limiter
from limits.storage import MemoryStorage, RedisStorage
from redis import RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal import config
from portal.patience import patience

P = ParamSpec("P")
R = TypeVar("R")

ELSE_MEMORY = "else-memory+"  # before the address of a Redis, as the limiter wants to be told


def client_address() -> str:
    """The network the request comes from: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "127.0.0.1")
    except ValueError:
        return "unknown"  # a proxy that names no address at all: all of these share one allowance
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


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

    def _either(self, redis: Callable[P, R], memory: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with patience.ask():
                return redis(*args, **kwargs)
        except RedisError:
            return memory(*args, **kwargs)


limiter = Limiter(key_func=client_address)


def init_app(app: Flask) -> None:
    """Count in this installation's Redis; there is no default limit, each route says its own."""
    url = config.settings().redis_url
    app.config["RATELIMIT_STORAGE_URI"] = ELSE_MEMORY + url if url else "memory://"
    if url:
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "socket_connect_timeout": 1,  # seconds, once: Redis answers at once or it isn't there (decision 8)
            "socket_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
        }
    limiter.init_app(app)
    app.after_request(_say_how_much_is_left)


def _say_how_much_is_left(response: Response) -> Response:
    """Add RateLimit-* (seconds, as the IETF draft has them), and Retry-After where there was too much.

    The extension's own headers would put Retry-After on every answer and overrule the one of a 409.
    """
    limit = limiter.current_limit
    if limit is None:
        return response
    reset_at, remaining = limit.window
    reset_s = max(1, math.ceil(reset_at - time.time()))
    response.headers["RateLimit-Limit"] = str(limit.limit.amount)
    response.headers["RateLimit-Remaining"] = str(max(0, remaining))
    response.headers["RateLimit-Reset"] = str(reset_s)
    if limit.breached:
        response.headers["Retry-After"] = str(reset_s)
    return response
