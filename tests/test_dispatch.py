"""Due rows are picked fairly, and one failure stays one failure."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from portal import dispatch
from portal.dispatch import Candidate, ConcurrencyLimits, Results, recorder
from portal.infra import jobs
from tests.processes import until

LIMITS = ConcurrencyLimits(quick_tasks=16, threads=16, per_destination=6, per_workspace=6)
FIRST = [Candidate(id, "cdn.example", 1, is_retry=False) for id in range(100)]
LATER = [Candidate(id, "cdn.example", 2, is_retry=False) for id in range(100, 105)]


def test_an_early_backlog_does_not_keep_every_slot() -> None:
    chosen = LIMITS.pick(FIRST + LATER, [], 16)
    assert sorted(chosen) == [0, 1, 2, 100, 101, 102]


def test_a_free_slot_goes_to_the_owner_with_the_fewest_tasks() -> None:
    assert LIMITS.pick(FIRST[5:] + LATER, FIRST[:5], 16) == [100]


def test_nobody_exceeds_their_share_and_no_host_does_either() -> None:
    due = [Candidate(id, f"{id % 4}.example", id % 3, is_retry=False) for id in range(200)]
    limits = ConcurrencyLimits(quick_tasks=16, threads=16, per_destination=4, per_workspace=5)
    chosen = limits.pick(due, [], 100)
    assert max(Counter(due[id].destination for id in chosen).values()) == 4
    assert Counter(due[id].workspace_id for id in chosen) == {0: 5, 1: 5, 2: 5}


def test_failed_rows_get_half_of_the_slots_at_most() -> None:
    due = [Candidate(id, id, id % 2, is_retry=id < 60) for id in range(100)]
    limits = ConcurrencyLimits(quick_tasks=16, threads=16, per_destination=6, per_workspace=16)
    chosen = limits.pick(due, [], 16)
    assert len(chosen) == 16
    assert sum(due[id].is_retry for id in chosen) == 8


def test_with_one_slot_everybody_is_served_and_the_oldest_row_goes_first() -> None:
    """Six owners with endless rows leave the slot to a seventh too."""
    due = [Candidate(n * 100 + id, "cdn.example", n, is_retry=False) for n in range(7) for id in range(100)]
    chosen = Counter(LIMITS.pick(due, [], 1)[0] for _ in range(500))
    assert set(chosen) == {n * 100 for n in range(7)}


class Task(NamedTuple):
    candidate: Candidate


class Rows:
    """Due rows, each claimed once, and their recorded results; performing a task returns its id."""

    def __init__(self, count: int) -> None:
        self.due = [Task(Candidate(id, id, 1, is_retry=False)) for id in range(count)]
        self.recorded: list[list[int]] = []

    def claim(self, most: int) -> list[Task]:
        claimed, self.due = self.due[:most], self.due[most:]
        return claimed

    def perform(self, task: Task) -> int:
        return task.candidate.id

    def record(self, results: Results[Task, int]) -> None:
        self.recorded.append([outcome for _, outcome in results])

    def run(self, limits: ConcurrencyLimits = LIMITS, **others: Any) -> int:
        return dispatch.run(
            self.claim,
            self.perform,
            self.record,
            **{"limits": limits, "if_perform_raises": RAISED, "successor": jobs.deliver_webhooks()} | others,
        )


RAISED = -1


@pytest.fixture
def quick_retries(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app, and a recorder that retries soon, with the usual number of attempts."""
    monkeypatch.setattr(recorder, "RETRY_DELAYS_S", (0.01,) * len(recorder.RETRY_DELAYS_S))
    monkeypatch.setattr(dispatch, "POLL_EVERY_S", 0.02)


def locked() -> OperationalError:
    return OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))


@pytest.mark.usefixtures("quick_retries")
def test_a_result_that_cannot_be_recorded_blocks_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class OneIsBad(Rows):
        def record(self, results: Results[Task, int]) -> None:
            if any(outcome == 3 for _, outcome in results):
                raise ZeroDivisionError
            super().record(results)

    rows = OneIsBad(8)
    assert rows.run(group_by=lambda _: "all") == 8
    assert sorted(chain(*rows.recorded)) == [0, 1, 2, 4, 5, 6, 7]
    assert "recording a result failed: module=tests.test_dispatch row=3" in caplog.text


@pytest.mark.usefixtures("quick_retries")
def test_related_results_are_recorded_in_one_transaction() -> None:
    rows = Rows(6)
    rows.run(group_by=lambda task: task.candidate.id % 2)
    apart = {frozenset(id % 2 for id in change) for change in rows.recorded}
    assert apart == {frozenset({0}), frozenset({1})}


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("failures", [1, len(recorder.RETRY_DELAYS_S)])
def test_a_result_is_recorded_again_when_the_database_refused_briefly(failures: int) -> None:
    class Locked(Rows):
        left = failures

        def record(self, results: Results[Task, int]) -> None:
            if any(outcome == 1 for _, outcome in results) and self.left:
                self.left -= 1
                raise locked()
            super().record(results)

    rows = Locked(3)
    assert rows.run() == 3
    assert sorted(chain(*rows.recorded)) == [0, 1, 2]


@pytest.mark.usefixtures("quick_retries")
def test_a_result_that_can_never_be_recorded_is_replaced_by_the_callers_fallback() -> None:
    class Refused(Rows):
        def record(self, results: Results[Task, int]) -> None:
            if any(outcome == 1 for _, outcome in results):
                raise locked()
            super().record(results)

    rows = Refused(3)
    rows.run(if_record_raises=lambda error: 100 if isinstance(error, OperationalError) else 0)
    assert sorted(chain(*rows.recorded)) == [0, 2, 100]


@pytest.mark.usefixtures("quick_retries")
def test_leases_are_renewed_until_the_results_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RENEW_EVERY_S", 0)
    renewed: list[set[int]] = []
    enough = threading.Event()

    class Slow(Rows):
        left = 1

        def perform(self, task: Task) -> int:
            assert task.candidate.id or enough.wait(60)
            return super().perform(task)

        def record(self, results: Results[Task, int]) -> None:
            if any(outcome == 1 for _, outcome in results) and self.left:
                self.left -= 1
                raise locked()
            super().record(results)

    def renew(tasks: Sequence[Task]) -> None:
        renewed.append({task.candidate.id for task in tasks})
        if len(renewed) == 3:
            enough.set()
            raise locked()

    rows = Slow(2)
    assert rows.run(renew=renew) == 2
    assert renewed[0] == {0, 1}, "the one in flight, and the one that could not be recorded"
    assert sorted(chain(*rows.recorded)) == [0, 1]


@pytest.mark.usefixtures("quick_retries")
def test_leases_are_renewed_between_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RENEW_EVERY_S", 0)
    monkeypatch.setattr(dispatch, "GROUP_WITHIN_S", 60)
    steps: list[set[int]] = []

    class Slow(Rows):
        def record(self, results: Results[Task, int]) -> None:
            steps.append({outcome for _, outcome in results})

    Slow(3).run(renew=lambda tasks: steps.append({task.candidate.id for task in tasks}))
    assert steps == [{0}, {1, 2}, {1}, {2}, {2}]


@pytest.mark.usefixtures("quick_retries")
def test_a_failing_claim_ends_the_run_and_started_tasks_are_recorded() -> None:
    class Failing(Rows):
        def claim(self, most: int) -> list[Task]:
            if claimed := super().claim(most):
                return claimed
            raise locked()

        def perform(self, task: Task) -> int:
            until(lambda: not self.due)
            return super().perform(task)

    rows = Failing(3)
    with pytest.raises(OperationalError):
        rows.run()
    assert sorted(chain(*rows.recorded)) == [0, 1, 2]


@pytest.mark.usefixtures("quick_retries")
def test_a_task_that_raises_fails_alone() -> None:
    class Breaking(Rows):
        def perform(self, task: Task) -> int:
            return 1 // (task.candidate.id - 1)

    rows = Breaking(4)
    assert rows.run() == 4
    assert sorted(chain(*rows.recorded)) == [-1, RAISED, 0, 1]


@pytest.mark.usefixtures("quick_retries")
def test_hanging_tasks_keep_their_threads_but_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two end only after the other two, and would wait forever if those needed their slots."""
    monkeypatch.setattr(dispatch, "QUICK_S", 0.05)

    class Hanging(Rows):
        def perform(self, task: Task) -> int:
            if task.candidate.id < 2:
                until(lambda: len(self.recorded) >= 2)
            return super().perform(task)

    rows = Hanging(4)
    rows.run(ConcurrencyLimits(quick_tasks=2, threads=3, per_destination=1, per_workspace=4))
    assert sorted(chain(*rows.recorded[:2])) == [2, 3]


@pytest.mark.usefixtures("quick_retries")
def test_no_more_tasks_run_than_there_are_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "QUICK_S", 0)

    class Counting(Rows):
        in_flight = 0

        def claim(self, most: int) -> list[Task]:
            assert self.in_flight + most <= 3
            claimed = super().claim(most)
            self.in_flight += len(claimed)
            return claimed

        def record(self, results: Results[Task, int]) -> None:
            self.in_flight -= len(results)
            super().record(results)

    rows = Counting(20)
    assert rows.run(ConcurrencyLimits(quick_tasks=100, threads=3, per_destination=1, per_workspace=4)) == 20


@pytest.mark.usefixtures("quick_retries")
def test_of_two_runs_out_of_time_one_continues_while_the_other_waits_for_hanging_tasks(
    at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If both ended together, rows that become due would wait for hanging calls."""
    monkeypatch.setattr(dispatch, "RUN_FOR_S", 0.2)
    late, over = Rows(1), threading.Event()

    class Hanging(Rows):
        def claim(self, most: int) -> list[Task]:
            return super().claim(most) or (late.claim(most) if over.is_set() else [])

        def perform(self, task: Task) -> int:
            if task.candidate.destination == "hangs":
                until(lambda: late.recorded)
            return super().perform(task)

        def record(self, results: Results[Task, int]) -> None:
            late.record([result for result in results if result[0].candidate.destination != "hangs"])

    def run() -> int:
        rows = Hanging(0)
        rows.due = [Task(Candidate(1, "hangs", 1, is_retry=False))]
        return rows.run()

    def more() -> None:
        until(lambda: jobs.queue(jobs.WEBHOOKS).count)  # one has enqueued its successor, and claims no more
        over.set()

    assert sorted(at_once(lambda do: do(), (run,), (run,), (more,))[:2]) == [1, 2]
