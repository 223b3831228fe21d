"""Two apps in one process: each has its settings, buckets, Redis and counters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flask import Flask

from app import create_app
from portal import config
from portal.config import Settings, in_this_app
from portal.infra import jobs, storage
from portal.ratelimit import outbound
from portal.ratelimit.outbound import Pace

EVERY_HOUR = Pace(1, 3600, "of one app")


def test_two_apps_share_nothing(app: Flask, settings: Settings, tmp_path: Path) -> None:
    other_redis = (settings.redis_url or "").replace("db=0", "db=1")
    its = {"database_url": f"sqlite:///{tmp_path / 'other.db'}", "redis_url": other_redis}
    other = create_app(replace(settings, port=1, s3_cdn_bucket="another-cdn", **its))
    try:
        assert config.settings().port == settings.port
        assert storage.cdn.name == "frontage-cdn"
        jobs.enqueue(jobs.tidy())
        outbound.wait([EVERY_HOUR], patience_s=0)
        with other.app_context():
            assert config.settings().port == 1
            assert storage.cdn.name == "another-cdn"
            assert jobs.missing([jobs.tidy()]), "it was enqueued for the first app"
            outbound.wait([EVERY_HOUR], patience_s=0)
            assert in_this_app(lambda: config.settings().port)() == 1
        assert not jobs.missing([jobs.tidy()])
    finally:
        with other.app_context():
            jobs.connection().flushdb()
