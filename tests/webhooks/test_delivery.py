"""Deliveries: signatures that any library verifies, and none for changes that didn't happen or for other workspaces."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook, WebhookVerificationError

from portal.db import db, now
from portal.images import deletion, gallery, order
from portal.images.models import Property
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.outside import outside
from tests.webhooks.sending import listening, ok, sent


def test_an_event_arrives_with_headers_that_the_public_library_verifies(alice: Person, home: Property) -> None:
    with outside(ok) as receiver:
        endpoint = listening(alice, receiver.url)
        gallery.describe(home, str(factories.photo_in(home).uuid), "The pool")
        assert delivery.run() == 2, "one for the photo, one for its description"
        for seen in receiver.seen:
            payload = Webhook(endpoint.secret).verify(seen.body, seen.headers)
            assert payload["type"] == "property.updated"
            assert payload["data"] == {"id": str(home.uuid), "numericId": home.id}
            assert set(payload) == {"type", "timestamp", "data"}
            assert seen.headers["content-type"] == "application/json"
    assert [(one.state, one.status, one.attempts, one.next_at) for one in sent()] == [("delivered", 200, 1, None)] * 2


def test_a_payload_changed_in_transit_fails_the_receivers_verification(alice: Person) -> None:
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


def test_during_a_rotation_both_secrets_verify(alice: Person) -> None:
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


def test_a_change_sends_one_event_and_a_failed_one_none(
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
            events.emit(w, alice.workspace.id, events.PROPERTY_UPDATED, {"id": "x"})
            raise ZeroDivisionError
        assert len(sent()) == 1, "a change that was rolled back sends none"
        deletion.delete(home, [str(image.uuid), "nonsense"])
        deletion.delete(home, ["nonsense"])
        assert len(sent()) == 2


def test_charlie_gets_no_events_of_alices_changes(alice: Person, charlie: Person, home: Property) -> None:
    with outside(ok) as hers, outside(ok) as his:
        listening(alice, hers.url)
        listening(charlie, his.url)
        factories.photo_in(home, factories.jpeg(32, 24))
        delivery.run()
        assert (len(hers.seen), len(his.seen)) == (1, 0)
        assert "X-Amz" not in json.dumps([seen.body.decode() for seen in hers.seen])


def test_an_address_that_became_private_is_not_called(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from portal import config

    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        config.use(replace(config.settings(), allowed_private_nets=()))
        delivery.run()
        assert receiver.seen == []
    assert (sent()[0].state, sent()[0].status) == ("pending", None)


def test_old_deliveries_are_deleted_and_waiting_ones_kept(alice: Person) -> None:
    endpoint = listening(alice, "http://127.0.0.1:9/")
    done, waiting = endpoints.send_test(endpoint), endpoints.send_test(endpoint)
    with work():
        db.session.execute(update(Delivery).values(created_at=now() - timedelta(days=31)))
        db.session.execute(update(Delivery).where(Delivery.id == done.id).values(state="delivered", next_at=None))
    assert delivery.delete_expired() == 1
    assert [one.id for one in sent()] == [waiting.id]


def test_secrets_are_not_readable_in_the_database(alice: Person) -> None:
    endpoint = listening(alice, "http://127.0.0.1/hook")
    stored = db.session.connection().exec_driver_sql("SELECT secret FROM webhook_endpoint").scalar()
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.secret not in str(stored)
