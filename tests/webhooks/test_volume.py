"""Deliveries in numbers: receivers that fail 30 % of the time get every one of them, each attempt signed afresh.

A few hundred here; `DELIVERIES=10000 pytest tests/webhooks/test_volume.py` is the whole storm (reliability.md,
section 4, figure 11). Time passes as in life, but for the pauses between attempts, which the rows are moved over.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from tests.conftest import BOTH
from tests.factories import Person
from tests.outside import Reply, Seen, outside

DELIVERIES = int(os.environ.get("DELIVERIES", "300"))
WORKSPACES, ENDPOINTS = 5, 4  # endpoints of each
FAILING = 0.3  # of all attempts …
IN_A_ROW = 6  # … but never so often that a delivery is given up
HANGING = 0.001  # in the whole storm only: each holds a place until the deadline
RETRY_AFTER_S = 9000


class Receivers:
    """Integrators' servers: each verifies what it gets with the public library, and fails now and then."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.attempts: dict[str, list[tuple[Seen, bool]]] = defaultdict(list)  # webhook-id → whether it was taken
        self.wrong: list[str] = []
        self._chance = random.Random(11)

    def answer(self, seen: Seen) -> Reply:
        late_s = time.time() - int(seen.headers["webhook-timestamp"])
        try:
            assert -1 <= late_s <= 4, f"signed {late_s} s ago"
            Webhook(self.secrets[seen.path]).verify(seen.body, seen.headers)
        except Exception as error:
            self.wrong.append(repr(error))
        attempts = self.attempts[seen.headers["webhook-id"]]
        fails = len(attempts) < IN_A_ROW and self._chance.random() < FAILING
        attempts.append((seen, not fails))
        return self._failure() if fails else Reply(after_s=self._chance.choice([0, 0, 0, 0.2]))

    def _failure(self) -> Reply:
        if DELIVERIES >= 10_000 and self._chance.random() < HANGING / FAILING:
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


def happen(people: list[Person]) -> None:
    """DELIVERIES of changes that happen, and between them as many changes again that are rolled back."""
    for n in range(DELIVERIES // ENDPOINTS):
        workspace_id = people[n % WORKSPACES].workspace.id
        with work() as w:
            events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": f"happened-{n}"})
        with suppress(ZeroDivisionError), work() as w:
            events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": f"undone-{n}"})
            raise ZeroDivisionError


def send_all(work_off: Callable[[], int]) -> int:
    """Ring and work until all have arrived, as the schedule worker does; return after how many rounds."""
    for rounds in range(1, IN_A_ROW + 3):
        while delivery.ring_again():
            work_off()
        db.session.rollback()
        waiting = list(db.session.scalars(select(Delivery).where(Delivery.state == PENDING)))
        if not waiting:
            return rounds
        assert all(wait_is_right(one) for one in waiting)
        time.sleep(1.01)  # the next attempts have another second in their timestamps
        with work():
            db.session.execute(update(Delivery).where(Delivery.state == PENDING).values(next_at=now()))
    raise AssertionError("some never arrived")


def wait_is_right(one: Delivery) -> bool:
    assert one.next_at and one.last_at
    pause_s = (one.next_at - one.last_at).total_seconds()
    least_s = delivery.RETRY_AFTER_S[one.attempts - 1]
    if one.status == 503:
        least_s = max(least_s, RETRY_AFTER_S)
    return least_s <= pause_s <= least_s * 1.1 + delivery.DEADLINE_S + 2


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_all_arrive_at_receivers_that_fail_and_none_that_did_not_happen(
    app: Flask, receivers: tuple[Receivers, str], work_off: Callable[[], int], database: str
) -> None:
    there, url = receivers
    happen(listening(app, there, url))
    began = time.monotonic()
    rounds = send_all(work_off)
    took_s = time.monotonic() - began
    assert there.wrong == []
    assert len(there.attempts) == DELIVERIES
    for attempts in there.attempts.values():
        assert_one_message(attempts)
    states = db.session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
    assert [tuple(row) for row in states] == [(DELIVERED, DELIVERIES)]
    assert not list(db.session.scalars(select(Endpoint).where(Endpoint.disabled_at.is_not(None))))
    made = sum(map(len, there.attempts.values()))
    assert made > DELIVERIES * 1.2, "too few failed"
    said = (
        f"{DELIVERIES} delivered in {made} attempts, {made - DELIVERIES} of them failed ({1 - DELIVERIES / made:.0%})"
    )
    print(f"\n{database}: {said}; {rounds} rounds, {took_s:.0f} s, {made / took_s:.0f} attempts a second")


def assert_one_message(attempts: list[tuple[Any, bool]]) -> None:
    """The same bytes each time, a later time and another signature; taken once, by the last attempt."""
    assert [taken for _, taken in attempts] == [False] * (len(attempts) - 1) + [True]
    all_seen: list[Seen] = [seen for seen, _ in attempts]
    assert len({(seen.path, seen.body) for seen in all_seen}) == 1
    times = [int(seen.headers["webhook-timestamp"]) for seen in all_seen]
    assert times == sorted(set(times))
    assert len({seen.headers["webhook-signature"] for seen in all_seen}) == len(all_seen)
    assert json.loads(all_seen[0].body)["data"]["id"].startswith("happened-")
