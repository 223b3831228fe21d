"""Receivers that hang until our deadline, and one that answers: real workers, over the ends of their runs.

An event happens each half second, and must arrive before ten more have happened. The seconds are printed: `pytest -m
storm -n 0 -s tests/webhooks/test_hanging.py`."""

from __future__ import annotations

import json
import time

import pytest
from flask import Flask

from portal.config import Settings
from portal.dispatch import RUN_FOR_S
from portal.infra import jobs
from portal.webhooks import delivery, events
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.outside import Reply, Seen, outside
from tests.processes import until
from tests.webhooks.sending import happen, listening
from tests.workers.conftest import pool

EVERY_S, WITHIN = 0.5, 10

pytestmark = [pytest.mark.storm, pytest.mark.timeout(400)]


class Watch:
    """A receiver that measures how late each event is: in events that happened since, and in seconds."""

    def __init__(self) -> None:
        self.happened_at: list[float] = []
        self.late: list[int] = []
        self.late_s: list[float] = []

    def emit(self, workspace_id: int) -> None:
        number = len(self.happened_at)
        with work() as w:
            events.emit(w, workspace_id, events.PROPERTY_UPDATED, {"id": number})
        self.happened_at.append(time.monotonic())

    def answer(self, seen: Seen) -> Reply:
        number = json.loads(seen.body)["data"]["id"]
        until(lambda: len(self.happened_at) > number)  # it may arrive before `emit` has recorded it
        self.late.append(len(self.happened_at) - 1 - number)
        self.late_s.append(time.monotonic() - self.happened_at[number])
        return Reply()


@pytest.mark.parametrize(("hanging", "runs"), [(1, 1.3), (40, 2.3)], ids=["one", "forty"])
def test_hanging_receivers_delay_no_other(
    app: Flask, charlie: Person, settings: Settings, hanging: int, runs: float
) -> None:
    his, watch = charlie.workspace.id, Watch()
    slow_for_s = delivery.DEADLINE_S + 5
    with outside(lambda _: Reply(after_s=slow_for_s)) as slow, outside(watch.answer) as quick:
        people = [factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True) for n in range(hanging)]
        for person in people:
            listening(person, slow.url)
        listening(charlie, quick.url)
        with pool(settings, app, "webhooks", "webhooks", "schedule"):
            until(lambda: len(jobs.workers()) == 3)
            for number in range(int(runs * RUN_FOR_S / EVERY_S)):
                watch.emit(his)
                if number % 6 == 0:  # so that the calls of each start and end at different times
                    for person in people:
                        happen(person)
                time.sleep(EVERY_S)
            until(lambda: len(watch.late) == len(watch.happened_at))
            slow.closed.set()
    late_s = sorted(watch.late_s)
    print(f"\n{hanging} hang ({len(slow.seen)} calls): {len(late_s)} events arrived, ", end="")
    print(f"median {late_s[len(late_s) // 2]:.2f} s, latest {late_s[-1]:.2f} s")
    assert max(watch.late) < WITHIN
