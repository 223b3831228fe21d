"""Which attempts at a URL count: those that its host spoiled, and none that we did."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import update

from portal.db import db, now
from portal.images import fetching, imports
from portal.images.models import ImportItem, ImportJob, Property
from portal.pixels import inspect as inspecting
from portal.work import work
from tests import factories
from tests.buckets import Buckets
from tests.faults import bucket_behind_a_proxy
from tests.images.test_imports import how, urls
from tests.outside import Reply, outside


def attempts(job: ImportJob) -> int:
    """How many count against the one item of an import that goes on."""
    assert how(job).imported + how(job).failed == 0
    (item,) = imports.items(job)
    assert item.next_at and item.next_at > now()
    assert item.fetching_until is None
    return item.attempts


def try_again_now() -> None:
    with work():
        db.session.execute(update(ImportItem).values(next_at=now()))
    fetching.run()


def test_an_attempt_counts_where_the_host_failed(home: Property) -> None:
    with outside(lambda _: Reply(503)) as host:
        job = imports.start(home, urls(host, 1))
        fetching.run()
        assert attempts(job) == 1
        try_again_now()
        assert attempts(job) == 2


def test_an_attempt_is_given_back_where_our_bucket_failed(home: Property, buckets: Buckets) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        job = imports.start(home, urls(host, 1))
        with bucket_behind_a_proxy() as front:
            front.answer = lambda asked: 403 if asked.method == "PUT" else None
            fetching.run()
            assert attempts(job) == 0
        try_again_now()
    assert how(job).imported == 1
    assert len(buckets.listing()) == 1


def test_an_attempt_is_given_back_where_we_had_no_time_to_look(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG without its end is decoded before it is taken, a few at a time."""
    monkeypatch.setattr(inspecting, "WAIT_FOR_DECODE_S", 0.01)
    with outside(lambda _: Reply(body=factories.jpeg()[:-2])) as host:
        job = imports.start(home, urls(host, 1))
        with ExitStack() as taken:
            for _ in range(inspecting.DECODES_AT_ONCE):
                assert inspecting._decodes.acquire(timeout=10)
                taken.callback(inspecting._decodes.release)
            fetching.run()
        assert attempts(job) == 0
        try_again_now()
    assert how(job).imported == 1
