"""Hosts that hang and workspaces with thousands of links delay nobody else's import (cases A28, H7)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from portal import errands
from portal.db import db
from portal.images import fetching, imports
from portal.images.models import ImportItem, ImportJob, Property
from portal.work import work
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person
from tests.outside import Reply, Seen, outside
from tests.processes import until


def photo(_: Seen) -> Reply:
    return Reply(body=factories.jpeg(64, 48), headers={"Content-Type": "image/jpeg"})


def links(url: str, count: int) -> list[str]:
    return [f"{url}/photo-{n}.jpg" for n in range(count)]


def delay_s(property_id: int, urls: list[str], then: Callable[[], Any]) -> float:
    """Import a second into the worker's run; return after how long the import is done, and end the run."""
    time.sleep(1)
    job = imports.start(db.session.get_one(Property, property_id), urls)

    def is_done() -> bool:
        db.session.rollback()
        return bool(job.completed_at)

    try:
        took_s = until(is_done, within_s=30)
    finally:
        then()
    assert imports.progress(job, imports.items(job)).imported == len(urls)
    return took_s


def test_a28_one_slow_host_delays_no_other_import(
    alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "DEADLINE_S", 3)
    with outside(lambda _: Reply(after_s=60)) as slow, outside(photo) as host:
        for n in range(3):
            imports.start(factories.home_of(alice.workspace, f"House {n}"), links(slow.url, 20))
        quick = imports.start(factories.home_of(charlie.workspace), links(host.url, 8))
        began = time.monotonic()
        monkeypatch.setattr(errands, "RUN_FOR_S", 1.5)
        fetching.run()
        db.session.rollback()
        assert imports.progress(quick, imports.items(quick)).imported == 8
        assert quick.completed_at
        assert (quick.completed_at - quick.created_at).total_seconds() < 2.5
        assert time.monotonic() - began < 8
        assert len(slow.seen) <= fetching.SHARES.per_place


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a28_a_slow_host_that_ten_workspaces_import_from_delays_no_other(
    app: Flask, charlie: Person, at_once: Callable[..., list[Any]]
) -> None:
    home = factories.home_of(charlie.workspace)
    with outside(lambda _: Reply(404, after_s=60)) as slow, outside(photo) as host:
        for n in range(10):
            person = factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True)
            imports.start(factories.home_of(person.workspace), links(slow.url, 20))
        watch = (delay_s, home.id, links(host.url, 8), slow.closed.set)
        _, delay = at_once(lambda do, *args: do(*args), (fetching.run,), watch)
    print(f"\n8 links imported {delay:.2f} s after they were asked for")
    assert delay < 5


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_h7_ten_thousand_links_of_one_workspace_delay_no_other(
    alice: Person, charlie: Person, home: Property, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From two thousand hosts, so that no host's share keeps them back; each fails at once, and is tried again."""
    waiting(home, 10_000, hosts=2_000)
    his = factories.home_of(charlie.workspace)
    with outside(photo) as host:
        stop = lambda: monkeypatch.setattr(errands, "RUN_FOR_S", 0)  # noqa: E731
        watch = (delay_s, his.id, links(host.url, 8), stop)
        looked_at, delay = at_once(lambda do, *args: do(*args), (fetching.run,), watch)
    assert looked_at < 9_000, "the queue was long all the while"
    print(f"\n8 links imported {delay:.2f} s after they were asked for")
    assert delay < 10


def waiting(home: Property, count: int, hosts: int) -> None:
    """Rows as imports.start() makes them: a month's budget would not have room for so many."""
    with work():
        made = [ImportJob(property_id=home.id, month="2026-11") for _ in range(count // imports.MAX_URLS)]
        db.session.add_all(made)
        db.session.flush()
        rows = []
        for n in range(count):
            host = f"127.1.{n % hosts // 250}.{n % hosts % 250 + 1}"  # nobody listens there
            job_id, position = made[n // imports.MAX_URLS].id, n % imports.MAX_URLS
            rows.append(
                {"job_id": job_id, "position": position, "url": f"http://{host}:9/{n}.jpg", "host": f"{host}:9"}
            )
        db.session.execute(insert(ImportItem), rows)
