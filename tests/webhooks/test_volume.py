"""Many deliveries: receivers that fail 30 % of the time get every one of them, each attempt signed afresh.

A hundred by default; `DELIVERIES=10000 pytest -m storm tests/webhooks/test_volume.py` is the whole storm. The rows
skip the pauses between attempts, and so does the clock."""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from standardwebhooks import Webhook

from portal.db import db, now
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import DELIVERED, PENDING, Delivery, Endpoint
from portal.work import work
from tests import factories
from tests.conftest import MATRIX
from tests.factories import Person
from tests.outside import Reply, Seen, outside

DELIVERIES = int(os.environ.get("DELIVERIES", "3000"))  # in the storm
WORKSPACES, ENDPOINTS = 5, 4  # endpoints of each
FAILING = 0.3  # of all attempts …
IN_A_ROW = 6  # … but never so often that a delivery is given up
HANGING = 0.001  # in the storm: each takes a thread until the deadline
RETRY_AFTER_S = 9000


class Receivers:
    """Integrators' servers: each verifies what it gets with the public library, and fails now and then."""

    def __init__(self) -> None:
        self.may_hang = False
        self.round_began = 0  # by the clock of the deliveries
        self.secrets: dict[str, str] = {}
        self.attempts: dict[str, list[tuple[Seen, bool]]] = defaultdict(list)  # webhook-id → whether it was accepted
        self.wrong: list[str] = []
        self._chance = random.Random(11)

    def answer(self, seen: Seen) -> Reply:
        try:
            assert int(seen.headers["webhook-timestamp"]) >= self.round_began, "signed for an earlier attempt"
            Webhook(self.secrets[seen.path]).verify(seen.body, seen.headers)
        except Exception as error:
            self.wrong.append(repr(error))
        attempts = self.attempts[seen.headers["webhook-id"]]
        fails = len(attempts) < IN_A_ROW and self._chance.random() < FAILING
        attempts.append((seen, not fails))
        return self._failure() if fails else Reply(after_s=self._chance.choice([0, 0, 0, 0.2]))

    def _failure(self) -> Reply:
        if self.may_hang and self._chance.random() < HANGING / FAILING:
            return Reply(500, after_s=delivery.DEADLINE_S + 5)
        return self._chance.choice(
            [
                Reply(500, b"oops"),
                Reply(503, headers={"Retry-After": str(RETRY_AFTER_S)}),
                Reply(is_reset=True),
                Reply(500, b"slowly", after_s=0.4),
            ]
        )


@pytest.fixture
def receivers() -> Iterator[tuple[Receivers, str]]:
    made = Receivers()
    with outside(made.answer) as host:
        yield made, host.url


def listening(app: Flask, receivers: Receivers, url: str) -> list[Person]:
    people = [factories.person(app, f"House {n}", f"{n}@house.example", admin=True) for n in range(WORKSPACES)]
    for person in people:
        for n in range(ENDPOINTS):
            path = f"/{person.workspace.id}/{n}"
            endpoint = endpoints.create(person.workspace, url + path, [events.PROPERTY_UPDATED])
            receivers.secrets[path] = endpoint.secret
    return people


def happen(people: list[Person], count: int) -> None:
    """Events for `count` deliveries and, between them, as many changes that are rolled back."""
    for n in range(count // ENDPOINTS):
        workspace_id = people[n % WORKSPACES].workspace.id
        with work() as w:
            events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": f"happened-{n}"})
        with suppress(ZeroDivisionError), work() as w:
            events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": f"undone-{n}"})
            raise ZeroDivisionError


def send_all(work_off: Callable[[], int], there: Receivers, monkeypatch: pytest.MonkeyPatch) -> int:
    """Enqueue and work until all have arrived, as the schedule worker does; return the number of rounds."""
    for rounds in range(1, IN_A_ROW + 3):
        passed = timedelta(seconds=10 * rounds)  # the attempts of a round have other seconds in their timestamps
        there.round_began = int((now() + passed).timestamp())
        monkeypatch.setattr(delivery, "now", lambda passed=passed: now() + passed)
        while delivery.enqueue_missing():
            work_off()
        db.session.rollback()
        waiting = list(db.session.scalars(select(Delivery).where(Delivery.state == PENDING)))
        if not waiting:
            return rounds
        assert all(wait_is_right(one) for one in waiting)
        with work():
            db.session.execute(update(Delivery).where(Delivery.state == PENDING).values(next_at=now()))
    raise AssertionError("some never arrived")


def wait_is_right(one: Delivery) -> bool:
    assert one.next_at and one.last_at
    pause_s = (one.next_at - one.last_at).total_seconds()
    least_s = delivery.RETRY_DELAYS_S[one.attempts - 1]
    if one.status == 503:
        least_s = max(least_s, RETRY_AFTER_S)
    return pause_s >= least_s


@pytest.mark.parametrize(
    "count", [40, pytest.param(DELIVERIES, id="storm", marks=[pytest.mark.storm, pytest.mark.timeout(900)])]
)
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_all_events_reach_failing_receivers_and_rolled_back_ones_none(
    app: Flask,
    receivers: tuple[Receivers, str],
    work_off: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    there, url = receivers
    there.may_hang = count > 100
    happen(listening(app, there, url), count)
    rounds = send_all(work_off, there, monkeypatch)
    assert there.wrong == []
    assert len(there.attempts) == count
    for attempts in there.attempts.values():
        assert_one_message(attempts)
    states = db.session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
    assert [tuple(row) for row in states] == [(DELIVERED, count)]
    assert not list(db.session.scalars(select(Endpoint).where(Endpoint.disabled_at.is_not(None))))
    made = sum(map(len, there.attempts.values()))
    assert made > count * 1.1, "too few failed"
    print(f"\n{count} delivered in {made} attempts and {rounds} rounds")


def assert_one_message(attempts: list[tuple[Any, bool]]) -> None:
    """Assert identical bytes, later times and other signatures at each attempt; accepted once, by the last one."""
    assert [taken for _, taken in attempts] == [False] * (len(attempts) - 1) + [True]
    all_seen: list[Seen] = [seen for seen, _ in attempts]
    assert len({(seen.path, seen.body) for seen in all_seen}) == 1
    times = [int(seen.headers["webhook-timestamp"]) for seen in all_seen]
    assert times == sorted(set(times))
    assert len({seen.headers["webhook-signature"] for seen in all_seen}) == len(all_seen)
    assert json.loads(all_seen[0].body)["data"]["id"].startswith("happened-")
