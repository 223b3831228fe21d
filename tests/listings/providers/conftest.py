"""Adapters run in threads without a database: they need the settings, and a Redis to count in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from portal import config, pacing
from portal.config import Settings
from portal.patience import patience


@pytest.fixture(autouse=True)
def ground(settings: Settings) -> Iterator[Redis]:
    """This installation's settings, and its Redis, empty."""
    config.use(settings)
    pacing.connect(settings)
    patience.forget()
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()
        yield redis
