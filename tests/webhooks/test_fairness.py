"""Receivers that hang and workspaces with thousands of deliveries delay nobody else (cases F6, H7)."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from portal import errands
from portal.db import db, now
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import Endpoint
from portal.work import work
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person
from tests.outside import Outside, Reply, Seen, outside
from tests.webhooks.sending import happen, listening, ok
from tests.processes import until


def test_f6_a_receiver_that_hangs_delays_nobody_else(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DEADLINE_S", 3)
    arrived: list[float] = []

    def note(_: Seen) -> Reply:
        arrived.append(time.monotonic())
        return Reply()

    with outside(lambda _: Reply(after_s=60)) as slow, outside(note) as quick:
        for url in (slow.url, quick.url):
            listening(alice, url)
        happen(alice, 40)
        began = time.monotonic()
        monkeypatch.setattr(errands, "RUN_FOR_S", 2)
        delivery.run()
        assert len(arrived) == 40
        assert max(arrived) - began < 2.5
        assert len(slow.seen) == delivery.SHARES.per_place


def test_h7_a_workspace_whose_receivers_all_hang_delays_no_other(
    alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DEADLINE_S", 3)
    monkeypatch.setattr(errands, "RUN_FOR_S", 1)
    with outside(lambda _: Reply(after_s=60)) as slow, outside(ok) as quick:
        for _ in range(10):
            endpoints.send_test(listening(charlie, slow.url))
        endpoints.send_test(listening(alice, quick.url))
        began = time.monotonic()
        delivery.run()
        assert len(quick.seen) == 1
        assert len(slow.seen) == delivery.SHARES.per_workspace
        assert time.monotonic() - began < 8


def delay_s(workspace_id: int, receiver: Outside, then: Callable[[], Any]) -> float:
    """Say something a second into the worker's run; return after how long it is there, and end the run."""
    time.sleep(1)
    with work() as w:
        events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": "x"})
    try:
        return until(lambda: receiver.seen, within_s=12)
    finally:
        then()


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_f6_twenty_workspaces_whose_receivers_hang_delay_no_other(
    app: Flask, charlie: Person, at_once: Callable[..., list[Any]]
) -> None:
    """They failed before; each holds its place until the deadline of 15 s, again and again."""
    with outside(lambda _: Reply(500, after_s=60)) as slow, outside(ok) as quick:
        for n in range(20):
            person = factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True)
            for _ in range(2):
                listening(person, slow.url)
            happen(person, 4)
        with work():
            db.session.execute(update(Endpoint).values(failing_since=now()))
        listening(charlie, quick.url)
        watch = (delay_s, charlie.workspace.id, quick, slow.closed.set)
        _, delay = at_once(lambda do, *args: do(*args), (delivery.run,), watch)
        assert len(slow.seen) >= delivery.SHARES.side_by_side // 2
    print(f"\nin its receiver {delay:.2f} s after the change")
    assert delay < 5


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_h7_ten_thousand_deliveries_of_one_workspace_delay_no_other(
    alice: Person, charlie: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with outside(lambda _: Reply(after_s=0.05)) as busy, outside(ok) as quick:
        for _ in range(endpoints.MAX_ENDPOINTS):
            listening(alice, busy.url)
        happen(alice, 10_000 // endpoints.MAX_ENDPOINTS)
        listening(charlie, quick.url)
        stop = lambda: monkeypatch.setattr(errands, "RUN_FOR_S", 0)  # noqa: E731
        watch = (delay_s, charlie.workspace.id, quick, stop)
        _, delay = at_once(lambda do, *args: do(*args), (delivery.run,), watch)
        assert 10 < len(busy.seen) < 9_000, "the queue was long all the while"
    print(f"\nin its receiver {delay:.2f} s after the change")
    assert delay < 5
