"""Adapters run in threads without a database: they need settings, and a Redis for rate limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from redis import Redis

from portal import config
from portal.config import Settings
from portal.infra.redis_client import breaker
from portal.listings.providers import ALL
from portal.ratelimit import outbound
from tests.listings.fakes.known import KNOWN, Known


@pytest.fixture(autouse=True)
def ground(settings: Settings) -> Iterator[Redis]:
    """The settings, and an empty Redis."""
    with Flask("adapters").app_context(), Redis.from_url(settings.redis_url or "") as redis:
        config.use(settings)
        outbound.connect(settings)
        breaker.close()
        redis.flushall()
        yield redis
        breaker.close()  # some tests have a Redis that is down


@pytest.fixture(params=list(KNOWN))
def known(request: pytest.FixtureRequest) -> Known:
    """Each provider."""
    return KNOWN[request.param]


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rate limits on either side, for tests of other things."""
    for provider in ALL.values():
        monkeypatch.setattr(provider, "limits", ())
    for each in KNOWN.values():
        monkeypatch.setattr(each.make, "limited", lambda pms, asked: None)


@pytest.fixture
def nothing_allowed(settings: Settings, ground: Redis) -> None:
    """The default: no allowed networks, as for operators whose PMS runs on another machine."""
    config.use(replace(settings, allowed_private_nets=()))
