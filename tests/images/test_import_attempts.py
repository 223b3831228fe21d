"""Which attempts at a URL count, and that a download is kept when it can't be stored immediately."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from portal import dispatch
from portal.config import in_this_app
from portal.db import db, now
from portal.dispatch import recorder
from portal.images import imports
from portal.images.imports import fetch
from portal.images.models import PENDING, ImportItem, ImportJob, Property
from portal.pixels import inspect as inspecting
from portal.pixels import jpeg
from portal.remote.large import LargeDownloads
from portal.work import work
from tests import factories
from tests.buckets import Buckets
from tests.conftest import BOTH
from tests.faults import bucket_behind_a_proxy, database_failing_at
from tests.images.test_imports import how, urls
from tests.outside import Reply, outside
from tests.processes import until

SOME = (16, 32)  # of the steps at which the database fails
STEPS = [*SOME, *(pytest.param(n, marks=pytest.mark.storm) for n in range(1, 80) if n not in SOME)]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_DELAYS_S", (0.01,) * len(recorder.RETRY_DELAYS_S))


def attempts(job: ImportJob) -> int:
    """Number of counted attempts of the one item of an unfinished import."""
    assert how(job).imported + how(job).failed == 0
    (item,) = imports.items(job)
    assert item.next_at and item.next_at > now()
    assert item.fetching_until is None
    return item.attempts


def try_again_now() -> None:
    with work():
        db.session.execute(update(ImportItem).values(next_at=now()))
    fetch.run()


def test_an_attempt_counts_when_the_host_failed(home: Property) -> None:
    with outside(lambda _: Reply(503)) as host:
        job = imports.start(home, urls(host, 1))
        fetch.run()
        assert attempts(job) == 1
        try_again_now()
        assert attempts(job) == 2


def test_an_attempt_is_given_back_when_our_bucket_failed(home: Property, buckets: Buckets) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        job = imports.start(home, urls(host, 1))
        with bucket_behind_a_proxy() as front:
            front.answer = lambda asked: 403 if asked.method == "PUT" else None
            fetch.run()
            assert attempts(job) == 0
        try_again_now()
    assert how(job).imported == 1
    assert len(buckets.listing()) == 1


def test_an_attempt_is_given_back_when_there_was_no_time_to_inspect_the_file(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG without its end marker is decoded before it is accepted, a few at a time."""
    monkeypatch.setattr(inspecting, "WAIT_FOR_DECODE_S", 0.01)
    with outside(lambda _: Reply(body=factories.jpeg()[:-2])) as host:
        job = imports.start(home, urls(host, 1))
        with ExitStack() as taken:
            for _ in range(inspecting.MAX_CONCURRENT_DECODES):
                assert inspecting._decodes.acquire(timeout=10)
                taken.callback(inspecting._decodes.release)
            fetch.run()
        assert attempts(job) == 0
        try_again_now()
    assert how(job).imported == 1


def test_a_worker_whose_lease_has_lapsed_leaves_the_item_to_the_one_that_took_it(home: Property) -> None:
    job = imports.start(home, ["http://127.0.0.1:9/a.jpg"])
    (slow,) = fetch._claim(1)
    with work():
        db.session.execute(update(ImportItem).values(next_at=now()))
    (other,) = fetch._claim(1)
    until = imports.items(job)[0].fetching_until
    fetch._renew([slow])
    fetch._postpone(slow, 60, is_our_fault=True)
    fetch._fail(slow, "code", "message")
    db.session.expire_all()
    (item,) = imports.items(job)
    assert (item.state, item.attempts, item.fetching_until) == (PENDING, other.attempts, until)
    fetch._renew([other])
    db.session.expire_all()
    assert item.fetching_until and until and item.fetching_until > until


def test_a_url_whose_check_is_killed_is_tried_again(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(lambda _: Reply(body=factories.jpeg().removesuffix(b"\xff\xd9"))) as host:  # only a child can check it
        job = imports.start(home, urls(host, 1))
        with monkeypatch.context() as patched:
            patched.setattr(jpeg, "has_all_pixels", _kill_child)
            fetch.run()
        assert attempts(job) == 1
        try_again_now()
    assert how(job).imported == 1


def _kill_child(_: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_the_bucket_briefly_refuses_is_downloaded_once(home: Property, buckets: Buckets) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host, bucket_behind_a_proxy() as front:
        job = imports.start(home, urls(host, 1))
        front.answer = lambda asked: 403 if asked.method == "PUT" and asked.number == 1 else None
        fetch.run()
        assert len(host.seen) == 1
    assert how(job).imported == 1
    assert len(buckets.listing()) == 1


def test_large_pictures_are_fetched_a_few_at_a_time(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "USUAL_BYTES", 1000)
    monkeypatch.setattr(fetch, "_large", LargeDownloads(max_concurrent=1, patience_s=5))
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        job = imports.start(home, urls(host, 6))
        fetch.run()
    assert how(job).imported == 6


@pytest.mark.parametrize("database", BOTH, indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_download_is_kept_when_the_database_fails(home: Property, step: int) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        job = imports.start(home, urls(host, 3))
        with database_failing_at(step):
            run_twice_at_most()
        assert len(host.seen) == 3
    assert how(job).imported == 3


def run_twice_at_most() -> None:
    """Run as RQ does: once more if a run fails."""
    try:
        fetch.run()
    except Exception:
        fetch.run()


@contextmanager
def database_refusing(file_name: str) -> Iterator[None]:
    """Make the database refuse an image of this name."""
    refuse = f"CREATE TRIGGER refusing BEFORE INSERT ON image WHEN NEW.file_name = '{file_name}' "
    with work():
        db.session.execute(text(refuse + "BEGIN SELECT RAISE(ABORT, 'refused'); END"))
    try:
        yield
    finally:
        db.session.rollback()
        with work():
            db.session.execute(text("DROP TRIGGER refusing"))


def test_a_picture_that_cannot_be_stored_is_postponed_and_blocks_no_other(home: Property) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        job = imports.start(home, urls(host, 5))
        with database_refusing("photo-2.jpg"):
            fetch.run()
        assert (how(job).imported, how(job).failed) == (4, 0)
        (waiting,) = (item for item in imports.items(job) if item.state == PENDING)
        assert (waiting.attempts, waiting.fetching_until) == (1, None)
        try_again_now()
    assert how(job).imported == 5


def test_a_fetch_that_takes_longer_than_its_lease_is_not_started_twice(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LEASE", timedelta(seconds=2))
    monkeypatch.setattr(dispatch, "RENEW_EVERY_S", 0.1)
    with outside(lambda _: Reply(body=factories.jpeg(), after_s=4)) as host:
        job = imports.start(home, urls(host, 1))
        running = threading.Thread(target=in_this_app(fetch.run))
        running.start()
        until(lambda: host.seen)
        while running.is_alive():
            fetch.run()
            running.join(0.2)
    db.session.rollback()
    assert (how(job).imported, len(host.seen)) == (1, 1)
