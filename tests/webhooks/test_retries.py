"""Deliveries are retried until they arrive: on schedule, after a crash, by hand; and then given up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from portal import config
from portal.db import db, now
from portal.infra.encrypted import RETRY_UNREADABLE_AFTER
from portal.webhooks import delivery, endpoints
from portal.work import work
from tests.conftest import MATRIX
from tests.factories import Person
from tests.outside import Reply, outside
from tests.webhooks.sending import happen, listening, make_due, ok, sent


class Clock:
    """The clock that the deliveries use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = now()
        monkeypatch.setattr(delivery, "now", lambda: self.now)

    def pause_s(self, until: datetime | None) -> float:
        assert until
        return (until - self.now).total_seconds()


def test_a_retry_has_the_same_id_and_bytes_and_a_new_time_and_signature(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([Reply(500, b"not now"), Reply()])
    with outside(lambda _: next(answers)) as receiver:
        endpoint = listening(alice, receiver.url)
        endpoints.send_test(endpoint)
        clock = Clock(monkeypatch)
        delivery.run()
        (one,) = sent()
        assert (one.state, one.status, one.answer) == ("pending", 500, "not now")
        assert 5 <= clock.pause_s(one.next_at) <= 5.5
        clock.now += timedelta(seconds=6)
        delivery.run()
        first, second = receiver.seen
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    Webhook(endpoint.secret).verify(second.body, second.headers)
    assert sent()[0].state == "delivered"


def test_a_delivery_waits_for_a_lost_key_and_is_then_given_up(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    listening(alice, "http://127.0.0.1:9/")
    happen(alice)
    lost = replace(config.settings(), secret_key="another")
    monkeypatch.setattr(config, "settings", lambda: lost)
    clock = Clock(monkeypatch)
    delivery.run()
    (one,) = sent()
    assert (one.state, one.attempts) == ("pending", 0)
    assert clock.pause_s(one.next_at) == RETRY_UNREADABLE_AFTER.total_seconds()
    clock.now += delivery.RETENTION + timedelta(seconds=1)
    delivery.run()
    (one,) = sent()
    assert (one.state, one.next_at, one.answer) == (
        "failed",
        None,
        "The webhook's secret could not be read for 30 days.",
    )


def test_failures_follow_the_schedule_and_then_end(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(lambda _: Reply(503)) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        clock, pauses = Clock(monkeypatch), []
        for _ in range(len(delivery.RETRY_DELAYS_S)):
            delivery.run()
            (one,) = sent()
            pauses.append(clock.pause_s(one.next_at))
            clock.now += timedelta(seconds=pauses[-1])
        delivery.run()
        assert (sent()[0].state, sent()[0].next_at, len(receiver.seen)) == ("failed", None, 8)
    for pause_s, wanted_s in zip(pauses, (5, 300, 1800, 7200, 18000, 36000, 36000), strict=True):
        assert wanted_s <= pause_s <= wanted_s * 1.1


@pytest.mark.parametrize("status", [302, 500, *(pytest.param(n, marks=pytest.mark.slow) for n in (301, 400, 404, 429))])
def test_anything_but_2xx_is_retried(alice: Person, status: int) -> None:
    with outside(lambda _: Reply(status, headers={"Location": "http://127.0.0.1:1/"})) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        delivery.run()
        assert len(receiver.seen) == 1, "no redirect is followed"
    assert (sent()[0].state, sent()[0].status) == ("pending", status)


def test_retry_after_is_honoured(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(lambda _: Reply(429, headers={"Retry-After": "1234"})) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        clock = Clock(monkeypatch)
        delivery.run()
    assert clock.pause_s(sent()[0].next_at) == 1234


def test_an_endpoint_that_answers_410_is_disabled(alice: Person) -> None:
    with outside(lambda _: Reply(410)) as receiver:
        endpoint = listening(alice, receiver.url)
        endpoints.send_test(endpoint)
        delivery.run()
        db.session.rollback()
        assert endpoint.disabled_at
        assert "410" in str(endpoint.disabled_reason)
        happen(alice)
        assert len(sent()) == 1, "nothing more is scheduled"
        endpoints.update(endpoint, enabled=True)
        assert endpoint.disabled_at is None


def test_days_of_failure_disable_an_endpoint(alice: Person) -> None:
    with outside(lambda _: Reply(500)) as receiver:
        endpoint = listening(alice, receiver.url)
        with work():
            endpoint.failing_since = now() - timedelta(days=6)
        endpoints.send_test(endpoint)
        delivery.run()
    db.session.rollback()
    assert endpoint.disabled_reason == "All deliveries failed for 5 days."
    assert sent()[0].state == "failed"


def test_a_delivery_whose_worker_died_is_sent_again_with_the_same_id(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        (task,) = delivery._claim(10)
        delivery._post(task)
        assert delivery.run() == 0, "its lease still holds"
        make_due()
        assert delivery.run() == 1
        first, second = receiver.seen
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert sent()[0].state == "delivered"


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_two_concurrent_workers_send_nothing_twice(alice: Person, at_once: Callable[..., list[Any]]) -> None:
    with outside(ok) as receiver:
        listening(alice, receiver.url)
        happen(alice, 60)
        assert sum(at_once(delivery.run, *[()] * 4)) == 60
        assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == len(receiver.seen) == 60


def test_a_delivery_can_be_resent_by_hand(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        delivery.run()
        delivery.send_again(sent()[0])
        delivery.run()
        assert len(receiver.seen) == 2


def test_waiting_deliveries_of_a_disabled_webhook_are_given_up_immediately(alice: Person) -> None:
    endpoint = listening(alice, "http://127.0.0.1:9/")
    happen(alice, 30)
    endpoints.update(endpoint, enabled=False)
    assert delivery.run() == 0
    assert {(one.state, one.attempts, one.answer) for one in sent()} == {("failed", 0, "The webhook is switched off.")}
