"""Rate limits for outgoing calls, shared by all workers."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from portal import config
from portal.config import Settings
from portal.errors import TooMany
from portal.ratelimit.storage import counters

NAMESPACE = "pace"
PADDING_S = 1  # calls sent within 10 s may arrive within 9, as their latency varies
LEAST_PAUSE_S = 0.05


class Pace(NamedTuple):
    """At most `calls` in any `seconds`, over all calls with this key."""

    calls: int
    seconds: int
    key: str


def connect(settings: Settings) -> None:
    """Set up the limiter of the current app; create_app calls it once."""
    config.parts()["outbound_limiter"] = MovingWindowRateLimiter(counters(settings.redis_url))


def wait(paces: Sequence[Pace], *, patience_s: float) -> None:
    """Wait until one more call fits within all of these limits, and count it.

    Raises TooMany immediately, without counting, if that would take longer than `patience_s`.
    """
    gives_up_at = time.monotonic() + patience_s
    while pause_s := _pause_s(paces):
        if time.monotonic() + pause_s > gives_up_at:
            raise TooMany("The rate limit is used up for now.", retry_after_s=math.ceil(pause_s), code="paced")
        time.sleep(pause_s)


def _pause_s(paces: Sequence[Pace]) -> float:
    """Count one call and return 0, or return the seconds until it may fit.

    The limit with the least room is counted first, so that losing a race against another worker wastes no count.
    """
    limiter: MovingWindowRateLimiter = config.parts()["outbound_limiter"]
    by_room: list[tuple[int, RateLimitItem, str]] = []
    pause_s = 0.0
    for pace in paces:
        item: RateLimitItem = RateLimitItemPerSecond(pace.calls, pace.seconds + PADDING_S, namespace=NAMESPACE)
        full_until, room = limiter.get_window_stats(item, pace.key)
        if room <= 0:
            pause_s = max(pause_s, full_until - time.time(), LEAST_PAUSE_S)
        by_room.append((room, item, pace.key))
    if pause_s:
        return pause_s
    for _, item, key in sorted(by_room, key=lambda entry: entry[0]):
        if not limiter.hit(item, key):
            return LEAST_PAUSE_S
    return 0.0
