"""Deliveries: signed so that anybody's library verifies them, tried until they arrive, none for what didn't happen."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from portal import errands
from portal.db import db, now
from portal.images import deletion, gallery, order
from portal.images.models import Property
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import Delivery, Endpoint
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.outside import Reply, Seen, outside


def ok(_: Seen) -> Reply:
    return Reply()


def listening(person: Person, url: str) -> Endpoint:
    return endpoints.create(person.workspace, url, ["property.updated"])


def happen(w: Any, person: Person) -> None:
    events.emit(w, person.workspace.id, events.PROPERTY_UPDATED, {"id": "x"})


def sent() -> list[Delivery]:
    db.session.rollback()
    return list(db.session.scalars(select(Delivery).order_by(Delivery.id)))


def make_due() -> None:
    with work():
        db.session.execute(update(Delivery).where(Delivery.state == "pending").values(next_at=now()))


def test_an_event_arrives_with_headers_that_the_public_library_verifies(alice: Person, home: Property) -> None:
    with outside(ok) as receiver:
        endpoint = listening(alice, receiver.url)
        gallery.describe(home, str(factories.photo_in(home).uuid), "The pool")
        assert delivery.run() == 2, "one for the photo, one for its words"
        for seen in receiver.seen:
            payload = Webhook(endpoint.secret).verify(seen.body, seen.headers)
            assert payload["type"] == "property.updated"
            assert payload["data"] == {"id": str(home.uuid), "numericId": home.id}
            assert set(payload) == {"type", "timestamp", "data"}
            assert seen.headers["content-type"] == "application/json"
    assert [(one.state, one.status, one.attempts, one.next_at) for one in sent()] == [("delivered", 200, 1, None)] * 2


def test_f4_what_was_changed_on_the_way_is_refused_by_the_receivers_library(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoint = listening(alice, receiver.url)
        endpoints.send_test(endpoint)
        delivery.run()
        (seen,) = receiver.seen
    late = str(int(seen.headers["webhook-timestamp"]) - 301)
    changes: list[tuple[bytes, dict[str, str]]] = [
        (seen.body + b" ", {}),
        (seen.body, {"webhook-id": "msg_other"}),
        (seen.body, {"webhook-timestamp": late}),
        (seen.body, {"webhook-signature": seen.headers["webhook-signature"].replace("v1,", "v2,")}),
    ]
    for body, changed in changes:
        with pytest.raises(WebhookVerificationError):
            Webhook(endpoint.secret).verify(body, {**seen.headers, **changed})


def test_f3_a_retry_has_the_same_id_and_bytes_and_a_new_time_and_signature(alice: Person) -> None:
    answers = iter([Reply(500, b"not now"), Reply()])
    with outside(lambda _: next(answers)) as receiver:
        endpoint = listening(alice, receiver.url)
        endpoints.send_test(endpoint)
        delivery.run()
        (one,) = sent()
        assert (one.state, one.status, one.answer) == ("pending", 500, "not now")
        assert one.next_at
        assert timedelta(seconds=3) < one.next_at - now() < timedelta(seconds=7)
        time.sleep(1)
        make_due()
        delivery.run()
        first, second = receiver.seen
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    Webhook(endpoint.secret).verify(second.body, second.headers)
    assert sent()[0].state == "delivered"


def test_f5_during_a_rotation_both_secrets_verify(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoint = listening(alice, receiver.url)
        old = endpoint.secret
        endpoints.rotate_secret(endpoint)
        endpoints.send_test(endpoint)
        delivery.run()
        (seen,) = receiver.seen
        assert len(seen.headers["webhook-signature"].split(" ")) == 2
        for secret in (old, endpoint.secret):
            Webhook(secret).verify(seen.body, seen.headers)
        with work():
            endpoint.old_secret_until = now() - timedelta(seconds=1)
        endpoints.send_test(endpoint)
        delivery.run()
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(receiver.seen[1].body, receiver.seen[1].headers)


def test_f7_failures_follow_the_schedule_and_then_end(alice: Person) -> None:
    with outside(lambda _: Reply(503)) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        pauses = []
        for _ in range(len(delivery.RETRY_AFTER_S)):
            delivery.run()
            (one,) = sent()
            assert one.next_at
            pauses.append((one.next_at - now()).total_seconds())
            make_due()
        delivery.run()
        assert (sent()[0].state, sent()[0].next_at, len(receiver.seen)) == ("failed", None, 8)
    for pause_s, wanted_s in zip(pauses, (5, 300, 1800, 7200, 18000, 36000, 36000), strict=True):
        assert wanted_s - 3 < pause_s < wanted_s * 1.1 + 3


@pytest.mark.parametrize("status", [301, 302, 400, 404, 429, 500])
def test_f7_anything_but_2xx_is_tried_again(alice: Person, status: int) -> None:
    with outside(lambda _: Reply(status, headers={"Location": "http://127.0.0.1:1/"})) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        delivery.run()
        assert len(receiver.seen) == 1, "no redirect is followed"
    assert (sent()[0].state, sent()[0].status) == ("pending", status)


def test_f7_retry_after_is_honoured(alice: Person) -> None:
    with outside(lambda _: Reply(429, headers={"Retry-After": "1234"})) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        delivery.run()
    next_at = sent()[0].next_at
    assert next_at
    assert 1200 < (next_at - now()).total_seconds() <= 1234


def test_f7_a_receiver_that_is_gone_is_switched_off(alice: Person) -> None:
    with outside(lambda _: Reply(410)) as receiver:
        endpoint = listening(alice, receiver.url)
        endpoints.send_test(endpoint)
        delivery.run()
        db.session.rollback()
        assert endpoint.disabled_at
        assert "410" in str(endpoint.disabled_reason)
        with work() as w:
            happen(w, alice)
        assert len(sent()) == 1, "nothing more is put on its way"
        endpoints.update(endpoint, enabled=True)
        assert endpoint.disabled_at is None


def test_f7_days_of_failure_switch_an_endpoint_off(alice: Person) -> None:
    with outside(lambda _: Reply(500)) as receiver:
        endpoint = listening(alice, receiver.url)
        with work():
            endpoint.failing_since = now() - timedelta(days=6)
        endpoints.send_test(endpoint)
        delivery.run()
    db.session.rollback()
    assert endpoint.disabled_reason == "Nothing arrived for 5 days."
    assert sent()[0].state == "failed"


def test_f8_a_change_is_told_once_and_one_that_fails_never(
    alice: Person, home: Property, at_once: Callable[..., list[Any]]
) -> None:
    with outside(ok) as receiver:
        listening(alice, receiver.url)
        arrived = factories.uploaded(home, factories.jpeg(32, 24))

        def confirm(property_id: int) -> None:
            from portal.images import uploads

            uploads.confirm(db.session.get_one(Property, property_id), [arrived])

        at_once(confirm, *[(home.id,)] * 10)
        assert len(sent()) == 1
        (image,) = gallery.images(home)
        order.reorder(home, [str(image.uuid)])
        assert len(sent()) == 1, "nothing changed"
        with pytest.raises(ZeroDivisionError), work() as w:
            happen(w, alice)
            raise ZeroDivisionError
        assert len(sent()) == 1, "what is undone is not told"
        deletion.delete(home, [str(image.uuid), "nonsense"])
        deletion.delete(home, ["nonsense"])
        assert len(sent()) == 2


def test_f11_charlie_hears_nothing_of_alices_changes(alice: Person, charlie: Person, home: Property) -> None:
    with outside(ok) as hers, outside(ok) as his:
        listening(alice, hers.url)
        listening(charlie, his.url)
        factories.photo_in(home, factories.jpeg(32, 24))
        delivery.run()
        assert (len(hers.seen), len(his.seen)) == (1, 0)
        assert "X-Amz" not in json.dumps([seen.body.decode() for seen in hers.seen])


def test_f6_a_receiver_that_hangs_delays_nobody_else(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DEADLINE_S", 3)
    arrived: list[float] = []

    def note(_: Seen) -> Reply:
        arrived.append(time.monotonic())
        return Reply()

    with outside(lambda _: Reply(after_s=60)) as slow, outside(note) as quick:
        for url in (slow.url, quick.url):
            listening(alice, url)
        with work() as w:
            for _ in range(40):
                happen(w, alice)
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


def test_f9_a_delivery_whose_worker_died_is_sent_again_with_the_same_id(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        (parcel,) = delivery._claim(10, [])
        delivery._post(parcel)
        assert delivery.run() == 0, "its lease still holds"
        make_due()
        assert delivery.run() == 1
        first, second = receiver.seen
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert sent()[0].state == "delivered"


def test_two_workers_at_once_send_nothing_twice(alice: Person, at_once: Callable[..., list[Any]]) -> None:
    with outside(ok) as receiver:
        listening(alice, receiver.url)
        with work() as w:
            for _ in range(60):
                happen(w, alice)
        assert sum(at_once(delivery.run, *[()] * 4)) == 60
        assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == len(receiver.seen) == 60


def test_f10_an_address_that_turned_private_is_not_called(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from portal import config

    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        config.use(replace(config.settings(), allowed_private_nets=()))
        delivery.run()
        assert receiver.seen == []
    assert (sent()[0].state, sent()[0].status) == ("pending", None)


def test_a_delivery_can_be_sent_again_by_hand(alice: Person) -> None:
    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        delivery.run()
        delivery.send_again(sent()[0])
        delivery.run()
        assert len(receiver.seen) == 2


def test_old_deliveries_are_forgotten_and_waiting_ones_kept(alice: Person) -> None:
    endpoint = listening(alice, "http://127.0.0.1:9/")
    done, waiting = endpoints.send_test(endpoint), endpoints.send_test(endpoint)
    with work():
        db.session.execute(update(Delivery).values(created_at=now() - timedelta(days=31)))
        db.session.execute(update(Delivery).where(Delivery.id == done.id).values(state="delivered", next_at=None))
    assert delivery.forget() == 1
    assert [one.id for one in sent()] == [waiting.id]


def test_secrets_are_not_to_be_read_in_the_database(alice: Person) -> None:
    endpoint = listening(alice, "http://127.0.0.1/hook")
    stored = db.session.connection().exec_driver_sql("SELECT secret FROM webhook_endpoint").scalar()
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.secret not in str(stored)
