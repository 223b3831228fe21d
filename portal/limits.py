"""How often a client may ask: counted in Redis in one round trip, in this process's memory while Redis is away."""

import ipaddress
import logging
import math
import re
import threading
import time
from functools import lru_cache
from typing import Any, NamedTuple

from flask import Flask, Response, current_app, g, request
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from portal import config
from portal.errors import TooMany

log = logging.getLogger(__name__)

EXTENSION = "frontage-limits"
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}
REDIS_IS_LEFT_ALONE_S = 5  # after it failed: one that hangs would hold every call for a second
MEMORY_KEPT = 10_000  # windows; past that those that have ended go

# Counts a call, begins its window with the first one, and says how many there were and how long it still lasts.
HIT = """
local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {used, redis.call('PTTL', KEYS[1])}
"""


class Allowance(NamedTuple):
    """So many calls in a window, which begins with the first of them."""

    calls: int
    window_s: int


class Spent(NamedTuple):
    """How an allowance stands after a call."""

    calls: int
    used: int
    reset_s: int

    @property
    def left(self) -> int:
        return max(0, self.calls - self.used)


def client_address() -> str:
    """The network the request comes from: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "127.0.0.1")
    except ValueError:
        return "unknown"  # a proxy that names no address at all: all of these share one allowance
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def count(scope: str, who: str, allowance: str) -> None:
    """Count a call against an allowance such as "600 per minute". Raises TooMany past it.

    The answer's headers tell of the scantest of the allowances that a request was counted against.
    """
    calls, window_s = _read(allowance)
    counter: Counter = current_app.extensions[EXTENSION]
    used, left_s = counter.hit(f"calls:{scope}:{who}", window_s)
    spent = Spent(calls, used, max(1, math.ceil(left_s)))
    g.spent = min(g.get("spent", spent), spent, key=lambda each: each.left)
    if used > calls:
        wait = f"{spent.reset_s} seconds" if spent.reset_s < 120 else f"{math.ceil(spent.reset_s / 60)} minutes"
        raise TooMany(f"Too many requests. Wait {wait}, then try again.", retry_after_s=spent.reset_s)


class Counter:
    """Calls of each client in its window."""

    def __init__(self, url: str | None) -> None:
        self._hit: Any = None
        if url:  # decision 8: Redis answers within a second or it isn't there
            redis = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0))
            self._hit = redis.register_script(HIT)
        self._ask_redis_at = 0.0
        self._memory: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def hit(self, key: str, window_s: int) -> tuple[int, float]:
        """Count a call; return how many there were in the window, and how many seconds are left of it."""
        if self._hit and time.monotonic() >= self._ask_redis_at:
            try:
                used, left_ms = self._hit(keys=[key], args=[window_s * 1000])
                return used, left_ms / 1000
            except RedisError as error:
                self._ask_redis_at = time.monotonic() + REDIS_IS_LEFT_ALONE_S
                log.warning("Redis is away, calls are counted in memory: %s", error)
        return self._hit_in_memory(key, window_s)

    def _hit_in_memory(self, key: str, window_s: int) -> tuple[int, float]:
        at = time.monotonic()
        with self._lock:
            if len(self._memory) >= MEMORY_KEPT:
                self._memory = {name: window for name, window in self._memory.items() if window[1] > at}
            used, ends_at = self._memory.get(key, (0, 0.0))
            if ends_at <= at:
                used, ends_at = 0, at + window_s
            self._memory[key] = used + 1, ends_at
        return used + 1, ends_at - at


def init_app(app: Flask) -> None:
    """Count in this installation's Redis; there is no default allowance, each entrance says its own."""
    app.extensions[EXTENSION] = Counter(config.settings().redis_url)
    app.after_request(_say_how_much_is_left)


@lru_cache
def _read(allowance: str) -> Allowance:
    found = re.fullmatch(r"(\d+) per (?:(\d+) )?(second|minute|hour)s?", allowance)
    if not found:
        raise ValueError(f"An allowance reads like '10 per 15 minutes', not {allowance!r}.")
    calls, number, unit = found.groups()
    return Allowance(int(calls), int(number or 1) * UNITS_S[unit])


def _say_how_much_is_left(response: Response) -> Response:
    """Add RateLimit-*, in seconds as the IETF draft has them."""
    spent: Spent | None = g.get("spent")
    if spent:
        response.headers["RateLimit-Limit"] = str(spent.calls)
        response.headers["RateLimit-Remaining"] = str(spent.left)
        response.headers["RateLimit-Reset"] = str(spent.reset_s)
    return response
