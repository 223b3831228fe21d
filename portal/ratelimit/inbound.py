"""Rate limits for incoming requests, shared by all processes in Redis, or per process while Redis is down."""

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
    """A client's remaining requests in a window, and the Unix time of the window's end."""

    most: int
    left: int
    ends_at: float

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit-* as in the IETF draft, in seconds, and Retry-After if the limit is exceeded."""
        reset_s = str(max(1, math.ceil(self.ends_at - time.time())))
        headers = {
            "RateLimit-Limit": str(self.most),
            "RateLimit-Remaining": str(max(0, self.left)),
            "RateLimit-Reset": reset_s,
        }
        return headers | ({"Retry-After": reset_s} if self.left < 0 else {})


def init_app(app: Flask) -> None:
    config.parts()["inbound_counters"] = counters(config.settings().redis_url)
    app.after_request(_add_headers)


def count(rule: str, client: str) -> None:
    """Count this request of a client against a rule such as "600 per minute", in one round trip to Redis.

    The response's headers report the rule with the least left. Raises TooManyRequests above the limit.
    """
    item = _parsed(rule)
    counted = config.parts()["inbound_counters"].count(item.key_for(client), item.get_expiry())
    allowance = Allowance(item.amount, item.amount - counted.calls, counted.ends_at)
    g.allowance = min(g.get("allowance", allowance), allowance, key=lambda each: each.left)
    if allowance.left < 0:
        raise TooManyRequests


def client_address() -> str:
    """Return the client's IPv4 address, or its IPv6 /64, the usual size of one customer's network."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "127.0.0.1")
    except ValueError:
        return "unknown"  # a proxy that sends no address: these requests share one allowance
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _add_headers(response: Response) -> Response:
    if allowance := g.get("allowance"):
        response.headers.update(allowance.headers)
    return response


@cache
def _parsed(rule: str) -> RateLimitItem:
    return parse(rule)
