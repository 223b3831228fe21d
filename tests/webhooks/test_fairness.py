"""Hanging receivers and workspaces with thousands of deliveries delay nobody else.

A hanging receiver answers only once the other deliveries have arrived: code that waits for it would never finish."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from portal import dispatch
from portal.db import db, now
from portal.infra import jobs
from portal.webhooks import delivery, endpoints, events, selection
from portal.webhooks.models import Endpoint
from portal.work import work
from tests import factories
from tests.conftest import MATRIX
from tests.factories import Person
from tests.outside import Outside, Reply, outside
from tests.processes import until
from tests.webhooks.sending import happen, listening, ok

WhileSending = Callable[[Callable[[], None], Outside], None]


@pytest.fixture
def while_sending(at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch) -> WhileSending:
    """Run an action while a worker sends, and end its run and its hanging calls."""
    monkeypatch.setattr(delivery, "DEADLINE_S", 100)

    def run(action: Callable[[], None], slow: Outside) -> None:
        def beside() -> None:
            try:
                action()
            finally:
                monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
                slow.closed.set()

        _, wrong = at_once(lambda do: do(), (delivery.run,), (beside,))
        assert wrong is None, wrong

    return run


def say(workspace_id: int) -> None:
    with work() as w:
        events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": "x"})


def test_a_hanging_receiver_delays_nobody_else(alice: Person, while_sending: WhileSending) -> None:
    with outside(lambda _: Reply(after_s=100)) as slow, outside(ok) as quick:
        for url in (slow.url, quick.url):
            listening(alice, url)
        happen(alice, 40)
        while_sending(lambda: until(lambda: len(quick.seen) == 40), slow)
    assert len(slow.seen) == selection.LIMITS.per_destination


def test_a_workspace_whose_receivers_all_hang_delays_no_other(
    alice: Person, charlie: Person, while_sending: WhileSending
) -> None:
    with outside(lambda _: Reply(after_s=100)) as slow, outside(ok) as quick:
        for _ in range(10):
            endpoints.send_test(listening(charlie, slow.url))
        endpoints.send_test(listening(alice, quick.url))
        while_sending(lambda: until(lambda: len(quick.seen) == 1), slow)
    assert len(slow.seen) == selection.LIMITS.per_workspace


@pytest.mark.slow
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_twenty_workspaces_with_hanging_receivers_delay_no_other(
    app: Flask, charlie: Person, while_sending: WhileSending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They failed before: all their allowed calls are in flight and hang when the other workspace's event comes."""
    monkeypatch.setattr(dispatch, "QUICK_S", 0.2)
    his = charlie.workspace.id
    with outside(lambda _: Reply(500, after_s=100)) as slow, outside(ok) as quick:
        for n in range(20):
            person = factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True)
            for _ in range(2):
                listening(person, slow.url)
            happen(person, 4)
        with work():
            db.session.execute(update(Endpoint).values(failing_since=now()))
        listening(charlie, quick.url)

        def change() -> None:
            until(lambda: len(slow.seen) == selection.LIMITS.max_retries)
            say(his)
            until(lambda: quick.seen)

        while_sending(change, slow)


def test_workers_share_the_limits(
    alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls to a receiver by one worker count for the other, which finds no room, and ends."""
    monkeypatch.setattr(delivery, "DEADLINE_S", 100)
    with outside(lambda _: Reply(after_s=100)) as slow:
        listening(alice, slow.url)
        happen(alice, 20)

        def second() -> int:
            try:
                until(lambda: len(slow.seen) == selection.LIMITS.per_destination)
                return delivery.run()
            finally:
                monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
                slow.closed.set()

        assert at_once(lambda do: do(), (delivery.run,), (second,)) == [selection.LIMITS.per_destination, 0]


def test_a_run_out_of_time_leaves_the_rest_to_another_worker(
    alice: Person, charlie: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls hang; later events are delivered by its successor, which it enqueues before it waits for them."""
    monkeypatch.setattr(delivery, "DEADLINE_S", 100)
    job = jobs.deliver_webhooks()
    with outside(lambda _: Reply(after_s=100)) as slow, outside(ok) as quick:
        listening(alice, slow.url)
        his_id = listening(charlie, quick.url).id
        happen(alice, 20)

        def successor() -> None:
            try:
                until(lambda: slow.seen)
                jobs.connection().flushall()
                monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
                until(lambda: jobs.queue(job.queue).get_job_ids() == [job.id])
                monkeypatch.setattr(dispatch, "RUN_FOR_S", 60)
                endpoints.send_test(db.session.get_one(Endpoint, his_id))
                delivery.run()
                assert len(quick.seen) == 1
            finally:
                slow.closed.set()

        assert at_once(lambda do: do(), (delivery.run,), (successor,))[1] is None


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.storm)])
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_ten_thousand_deliveries_of_one_workspace_delay_no_other(
    alice: Person, charlie: Person, while_sending: WhileSending, count: int
) -> None:
    his = charlie.workspace.id
    with outside(lambda _: Reply(after_s=0.05)) as busy, outside(ok) as quick:
        for _ in range(endpoints.MAX_ENDPOINTS):
            listening(alice, busy.url)
        happen(alice, count // endpoints.MAX_ENDPOINTS)
        listening(charlie, quick.url)

        def change() -> None:
            until(lambda: len(busy.seen) > 10)
            say(his)
            until(lambda: quick.seen)

        while_sending(change, busy)
    assert len(busy.seen) < 0.9 * count, "the queue was long the whole time"
