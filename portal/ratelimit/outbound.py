"""How often we may ask others: rate limits that all workers keep together."""

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
PADDING_S = 1  # what leaves us within 10 s may arrive within 9: one call is longer on its way than another
LEAST_PAUSE_S = 0.05


class Pace(NamedTuple):
    """At most `calls` in any `seconds`, of all that have this key."""

    calls: int
    seconds: int
    key: str


def connect(settings: Settings) -> None:
    """Have the current app count in this Redis; create_app does it, once."""
    config.parts()["outbound_limiter"] = MovingWindowRateLimiter(counters(settings.redis_url))


def wait(paces: Sequence[Pace], *, patience_s: float) -> None:
    """Wait until one more call keeps to all of these, and count it.

    Raises TooMany, at once and counting nothing, where that takes longer than `patience_s`.
    """
    gives_up_at = time.monotonic() + patience_s
    while pause_s := _pause_s(paces):
        if time.monotonic() + pause_s > gives_up_at:
            raise TooMany("All calls of this while are made.", retry_after_s=math.ceil(pause_s), code="paced")
        time.sleep(pause_s)


def _pause_s(paces: Sequence[Pace]) -> float:
    """Count one call and return 0; or return the seconds until there may be room for it.

    The one with the least room is asked first: where somebody else was faster, nothing is counted in vain.
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
