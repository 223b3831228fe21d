"""How often a client may ask: one limiter for all entrances, counted in Redis, in memory where Redis is away."""

import ipaddress
import math
import time

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits import RateLimitItem
from limits.strategies import STRATEGIES, FixedWindowRateLimiter
from limits.util import WindowStats

from portal import config, counters
from portal.counters import RedisElseMemory

STRATEGY = "fixed-window-in-one-round-trip"


def client_address() -> str:
    """The network the request comes from: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "127.0.0.1")
    except ValueError:
        return "unknown"  # a proxy that names no address at all: all of these share one allowance
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class FixedWindowInOneRoundTrip(FixedWindowRateLimiter):
    """Keeps, for the rest of the request, what counting it has told of its window already."""

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        if not isinstance(self.storage, RedisElseMemory):
            return super().hit(item, *identifiers, cost=cost)
        key = item.key_for(*identifiers)
        count = self.storage.count(key, item.get_expiry(), cost)
        g.setdefault("rate_limit_windows", {})[key] = WindowStats(count.ends_at, max(0, item.amount - count.calls))
        return count.calls <= item.amount

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        known: WindowStats | None = g.get("rate_limit_windows", {}).get(item.key_for(*identifiers))
        return known or super().get_window_stats(item, *identifiers)


STRATEGIES[STRATEGY] = FixedWindowInOneRoundTrip  # where Flask-Limiter looks names up

limiter = Limiter(key_func=client_address)


def init_app(app: Flask) -> None:
    """Count in this installation's Redis; there is no default limit, each route says its own."""
    url = config.settings().redis_url
    app.config["RATELIMIT_STORAGE_URI"] = counters.ELSE_MEMORY + url if url else "memory://"
    app.config["RATELIMIT_STRATEGY"] = STRATEGY
    if url:
        app.config["RATELIMIT_STORAGE_OPTIONS"] = counters.OPTIONS
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
