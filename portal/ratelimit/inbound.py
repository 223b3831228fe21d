"""How often a client may ask: counted for all processes together in Redis, in memory where Redis is away."""

import ipaddress
import math
import time
from functools import cache
from typing import NamedTuple

from flask import Flask, Response, g, request
from limits import RateLimitItem, parse
from werkzeug.exceptions import TooManyRequests

from portal import config
from portal.ratelimit.storage import counters


class Allowance(NamedTuple):
    """What a client may still ask in a window, and the Unix time of its end."""

    most: int
    left: int
    ends_at: float

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-* (seconds, as the IETF draft has them), and Retry-After where there was too much."""
        reset_s = str(max(1, math.ceil(self.ends_at - time.time())))
        said = {
            "RateLimit-Limit": str(self.most),
            "RateLimit-Remaining": str(max(0, self.left)),
            "RateLimit-Reset": reset_s,
        }
        return said | ({"Retry-After": reset_s} if self.left < 0 else {})


def init_app(app: Flask) -> None:
    config.parts()["inbound_counters"] = counters(config.settings().redis_url)
    app.after_request(_say_how_much_is_left)


def count(rule: str, client: str) -> None:
    """Count this request of a client against a rule, such as "600 per minute": one round trip to Redis.

    Raises TooManyRequests past it. The answer's headers tell of the rule that leaves the least.
    """
    item = _parsed(rule)
    counted = config.parts()["inbound_counters"].count(item.key_for(client), item.get_expiry())
    allowance = Allowance(item.amount, item.amount - counted.calls, counted.ends_at)
    g.allowance = min(g.get("allowance", allowance), allowance, key=lambda each: each.left)
    if allowance.left < 0:
        raise TooManyRequests


def client_address() -> str:
    """The network the request comes from: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "127.0.0.1")
    except ValueError:
        return "unknown"  # a proxy that names no address at all: all of these share one allowance
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _say_how_much_is_left(response: Response) -> Response:
    if allowance := g.get("allowance"):
        response.headers.update(allowance.headers)
    return response


@cache
def _parsed(rule: str) -> RateLimitItem:
    return parse(rule)
