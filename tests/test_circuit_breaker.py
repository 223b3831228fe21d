"""When the circuit breaker opens, and when it closes again."""

from __future__ import annotations

from contextlib import suppress

import pytest

from portal.infra.circuit_breaker import Breaker

LONG_S = 600
OUTCOMES = {"f": TimeoutError, "e": PermissionError}  # a failure; an error that the server reports


class Open(Exception):
    pass


def breaker(*, open_for_s: float = LONG_S) -> Breaker:
    return Breaker((TimeoutError,), Open, threshold=3, open_for_s=open_for_s)


def call(guard: Breaker, outcome: str) -> None:
    with suppress(*OUTCOMES.values()), guard.call():
        if error := OUTCOMES.get(outcome):
            raise error


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        ("ff", False),
        ("fff", True),
        ("ffaf", False),  # an answer between
        ("ffef", False),  # an error is an answer
        ("ffafff", True),
    ],
)
def test_failures_in_a_row_open_it(calls: str, opens: bool) -> None:
    guard = breaker()
    for outcome in calls:
        call(guard, outcome)
    assert guard.is_open == opens
    if opens:
        with pytest.raises(Open):
            call(guard, "a")


def test_a_failure_does_not_count_if_another_call_was_answered_since_it_began() -> None:
    """Five slow objects among many time out at once, long after the others were answered."""
    guard = breaker()
    slow = [guard.begin() for _ in range(5)]
    call(guard, "a")
    for attempt in slow:
        guard.failed(attempt)
    assert not guard.is_open


@pytest.mark.parametrize(("outcome", "opens"), [("a", False), ("e", False), ("f", True)])
def test_one_call_is_the_probe_and_the_others_fail_meanwhile(outcome: str, opens: bool) -> None:
    guard = breaker(open_for_s=0)
    for _ in range(3):
        call(guard, "f")
    assert not guard.is_open
    guard.open_for_s = LONG_S
    with suppress(*OUTCOMES.values()), guard.call():
        with pytest.raises(Open):
            call(guard, "a")
        if error := OUTCOMES.get(outcome):
            raise error
    assert guard.is_open == opens


def test_calls_that_began_before_it_opened_do_not_keep_it_open() -> None:
    guard = breaker(open_for_s=0)
    late = guard.begin()
    for _ in range(3):
        call(guard, "f")
    guard.open_for_s = LONG_S
    guard.failed(late)
    assert not guard.is_open
