"""Adapters run in threads without a database: they need the settings, and a Redis to count in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from redis import Redis

from portal import config
from portal.config import Settings
from portal.infra.circuit_breaker import breaker
from portal.listings.providers import ALL
from portal.ratelimit import outbound
from tests.listings.fakes.known import KNOWN, Known


@pytest.fixture(autouse=True)
def ground(settings: Settings) -> Iterator[Redis]:
    """This installation's settings, and its Redis, empty."""
    with Flask("adapters").app_context(), Redis.from_url(settings.redis_url or "") as redis:
        config.use(settings)
        outbound.connect(settings)
        breaker.close()
        redis.flushall()
        yield redis


@pytest.fixture(params=list(KNOWN))
def known(request: pytest.FixtureRequest) -> Known:
    """Each provider in turn."""
    return KNOWN[request.param]


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rate limits on either side, for what is not about them."""
    for provider in ALL.values():
        monkeypatch.setattr(provider, "limits", ())
    for each in KNOWN.values():
        monkeypatch.setattr(each.make, "limited", lambda pms, asked: None)


@pytest.fixture
def nothing_allowed(settings: Settings, ground: Redis) -> None:
    """As for everybody whose PMS doesn't run on the same machine."""
    config.use(replace(settings, allowed_private_nets=()))
