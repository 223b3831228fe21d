"""Hosts that hang and workspaces with thousands of links delay nobody else's import.

A hanging host answers only once the other import is done: code that waits for it would never finish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, insert, select

from portal import dispatch
from portal.db import db
from portal.images import imports
from portal.images.imports import fetch, selection
from portal.images.models import ImportItem, ImportJob, Property
from portal.work import work
from tests import factories
from tests.conftest import MATRIX
from tests.factories import Person
from tests.outside import Outside, Reply, Seen, outside
from tests.processes import until

WhileFetching = Callable[..., int]


@pytest.fixture
def while_fetching(at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch) -> WhileFetching:
    """Run an action while a worker fetches, and end its run; return how many links it looked at."""
    monkeypatch.setattr(fetch, "DEADLINE_S", 100)

    def run(action: Callable[..., None], *args: Any, slow: Outside | None = None) -> int:
        def beside() -> None:
            try:
                action(*args)
            finally:
                monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
                if slow:
                    slow.closed.set()

        looked_at, wrong = at_once(lambda do: do(), (fetch.run,), (beside,))
        assert wrong is None, wrong
        return int(looked_at)

    return run


def photo(_: Seen) -> Reply:
    return Reply(body=factories.jpeg(64, 48), headers={"Content-Type": "image/jpeg"})


def links(url: str, count: int) -> list[str]:
    return [f"{url}/photo-{n}.jpg" for n in range(count)]


def import_once(others_are_at_it: Callable[[], bool], property_id: int, urls: list[str]) -> None:
    """Start an import while others are running, and wait for its end."""
    until(others_are_at_it)
    job = imports.start(db.session.get_one(Property, property_id), urls)

    def is_done() -> bool:
        db.session.rollback()
        return bool(job.completed_at)

    until(is_done)
    assert imports.progress(job, imports.items(job)).imported == len(urls)


def test_one_slow_host_delays_no_other_import(alice: Person, charlie: Person, while_fetching: WhileFetching) -> None:
    home = factories.home_of(charlie.workspace)
    with outside(lambda _: Reply(after_s=100)) as slow, outside(photo) as host:
        for n in range(3):
            imports.start(factories.home_of(alice.workspace, f"House {n}"), links(slow.url, 20))
        while_fetching(import_once, lambda: hangs(slow), home.id, links(host.url, 8), slow=slow)
    assert len(slow.seen) == selection.LIMITS.per_destination


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_slow_host_that_ten_workspaces_import_from_delays_no_other(
    app: Flask, charlie: Person, while_fetching: WhileFetching
) -> None:
    home = factories.home_of(charlie.workspace)
    with outside(lambda _: Reply(404, after_s=100)) as slow, outside(photo) as host:
        for n in range(10):
            person = factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True)
            imports.start(factories.home_of(person.workspace), links(slow.url, 20))
        while_fetching(import_once, lambda: hangs(slow), home.id, links(host.url, 8), slow=slow)
    assert len(slow.seen) == selection.LIMITS.per_destination


def hangs(slow: Outside) -> bool:
    """Whether as many calls as one host may have are waiting for it."""
    return len(slow.seen) == selection.LIMITS.per_destination


@pytest.mark.parametrize(
    ("count", "hosts"),
    [(600, 150), pytest.param(10_000, 2_000, marks=pytest.mark.storm)],
)
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_ten_thousand_links_of_one_workspace_delay_no_other(
    charlie: Person, home: Property, while_fetching: WhileFetching, count: int, hosts: int
) -> None:
    """The links use enough hosts that no host's limit holds them back; each fails immediately, and is retried."""
    waiting(home, count, hosts)
    his = factories.home_of(charlie.workspace)

    def some_failed() -> bool:
        db.session.rollback()
        return (db.session.scalar(select(func.count()).where(ImportItem.attempts > 0)) or 0) > 20

    with outside(photo) as host:
        looked_at = while_fetching(import_once, some_failed, his.id, links(host.url, 8))
    assert looked_at < 0.9 * count, "the queue was long the whole time"


def waiting(home: Property, count: int, hosts: int) -> None:
    """Rows as imports.start() makes them: a month's budget has no room for this many."""
    with work():
        made = [ImportJob(property_id=home.id, month="2026-11") for _ in range(count // imports.MAX_URLS)]
        db.session.add_all(made)
        db.session.flush()
        rows = []
        for n in range(count):
            host = f"127.1.{n % hosts // 250}.{n % hosts % 250 + 1}"  # nothing listens there
            job_id, position = made[n // imports.MAX_URLS].id, n % imports.MAX_URLS
            rows.append(
                {"job_id": job_id, "position": position, "url": f"http://{host}:9/{n}.jpg", "host": f"{host}:9"}
            )
        db.session.execute(insert(ImportItem), rows)
