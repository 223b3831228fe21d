"""/api/v1/webhooks (an extension): endpoints, secrets, test events and the delivery log."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.webhooks import delivery
from tests import factories
from tests.factories import Person
from tests.outside import Reply, outside

PATH = "/api/v1/webhooks"
HOOK = {"url": "https://example.com/hook", "events": ["property.updated"]}


def create(person: Person, url: str = HOOK["url"], **headers: str) -> Any:
    return person.api("POST", PATH, json={**HOOK, "url": url}, headers=headers)


@pytest.fixture
def hook(alice: Person) -> dict[str, Any]:
    made: dict[str, Any] = create(alice).json["data"]
    return made


def test_a_new_webhook_shows_its_secret_once(alice: Person) -> None:
    response = create(alice)
    assert response.status_code == 201
    hook = response.json["data"]
    assert hook.pop("secret").startswith("whsec_")
    assert hook.pop("oldSecretUntil") is None
    assert response.headers["Location"] == f"{PATH}/{hook['id']}"
    assert (hook["url"], hook["events"], hook["enabled"]) == (HOOK["url"], HOOK["events"], True)
    assert alice.api("GET", f"{PATH}/{hook['id']}").json == {"data": hook}
    assert alice.api("GET", PATH).json == {"data": [hook]}


def test_each_workspace_sees_only_its_own_webhooks(alice: Person, charlie: Person, hook: Any) -> None:
    assert charlie.api("GET", PATH).json == {"data": []}
    assert charlie.api("GET", f"{PATH}/{hook['id']}").status_code == 404


UNUSABLE = [
    {"url": "ftp://example.com/"},
    {"url": "http://localhost/"},
    {"url": ""},
    {"url": "https://example.com/" + "x" * 2048},
    {"url": None},
    {"events": []},
    {"events": ["property.deleted"]},
    {"events": "property.updated"},
    {"events": None},
]


def test_an_invalid_url_or_event_is_a_422(alice: Person, subtests: pytest.Subtests) -> None:
    for change in UNUSABLE:
        with subtests.test(change=change):
            assert alice.api("POST", PATH, json={**HOOK, **change}).status_code == 422
            assert alice.api("GET", PATH).json["data"] == []


def test_an_invalid_change_is_a_422(alice: Person, hook: Any, subtests: pytest.Subtests) -> None:
    for change in ({"url": ""}, {"url": "nonsense"}, {"events": []}, {"enabled": "yes"}):
        with subtests.test(change=change):
            assert alice.api("PATCH", f"{PATH}/{hook['id']}", json=change).status_code == 422


def test_a_webhook_can_be_changed_disabled_and_deleted(alice: Person, hook: Any) -> None:
    at = f"{PATH}/{hook['id']}"
    assert alice.api("PATCH", at, json={"url": "https://example.com/2"}).json["data"]["url"] == "https://example.com/2"
    off = alice.api("PATCH", at, json={"enabled": False}).json["data"]
    assert (off["enabled"], off["disabledReason"]) == (False, "Switched off manually.")
    assert alice.api("PATCH", at, json={"enabled": True}).json["data"]["disabledReason"] is None
    assert alice.api("DELETE", at).status_code == 204
    assert alice.api("GET", at).status_code == 404


def test_after_a_rotation_both_secrets_sign_for_a_day(alice: Person, home: Property) -> None:
    with outside(lambda _: Reply()) as receiver:
        hook = create(alice, receiver.url).json["data"]
        response = alice.api("POST", f"{PATH}/{hook['id']}/rotate-secret")
        assert response.status_code == 200
        rotated = response.json["data"]
        assert rotated["secret"] != hook["secret"]
        assert rotated["oldSecretUntil"]
        factories.photo_in(home)
        delivery.run()
        (seen,) = receiver.seen
    for secret in (hook["secret"], rotated["secret"]):
        Webhook(secret).verify(seen.body, seen.headers)


def test_a_replayed_rotation_rotates_once_and_stores_no_plain_secret(alice: Person, hook: Any) -> None:
    key = {"Idempotency-Key": "6d1c"}
    answers = [alice.api("POST", f"{PATH}/{hook['id']}/rotate-secret", headers=key) for _ in range(2)]
    assert answers[0].data == answers[1].data
    secret = answers[0].json["data"]["secret"]
    for table in ("idempotency_record", "webhook_endpoint"):
        rows = db.session.execute(text(f"SELECT * FROM {table}")).all()
        assert rows
        assert secret not in str(rows)


def test_a_test_event_is_sent_and_shown_with_its_response(alice: Person) -> None:
    with outside(lambda _: Reply(500, b"not now")) as receiver:
        at = f"{PATH}/{create(alice, receiver.url).json['data']['id']}"
        response = alice.api("POST", f"{at}/test")
        assert response.status_code == 202
        made = response.json["data"]
        assert (made["event"], made["status"], made["attempts"]) == ("webhook.test", "pending", 0)
        assert made["answer"] is None
        delivery.run()
        (seen,) = receiver.seen
    assert seen.headers["webhook-id"] == made["messageId"]
    (shown,) = alice.api("GET", f"{at}/deliveries").json["data"]
    assert shown["request"].encode() == seen.body
    assert shown["answer"].pop("tookMs") >= 0
    assert shown["answer"] == {"status": 500, "body": "not now"}
    assert (shown["id"], shown["status"], shown["attempts"]) == (made["id"], "pending", 1)
    assert shown["nextAttemptAt"] > shown["lastAttemptAt"] >= shown["createdAt"]


def test_deliveries_are_newest_first_up_to_a_limit(alice: Person, home: Property, hook: Any) -> None:
    photo = factories.photo_in(home)
    gallery.describe(home, str(photo.uuid), "Pool")
    alice.api("POST", f"{PATH}/{hook['id']}/test")
    sent = alice.api("GET", f"{PATH}/{hook['id']}/deliveries").json["data"]
    assert [each["event"] for each in sent] == ["webhook.test", "property.updated", "property.updated"]
    assert alice.api("GET", f"{PATH}/{hook['id']}/deliveries?limit=1").json["data"] == sent[:1]
    for limit in ("0", "101", "x"):
        assert alice.api("GET", f"{PATH}/{hook['id']}/deliveries?limit={limit}").status_code == 422


def test_a_resent_delivery_has_the_same_id_and_bytes(alice: Person) -> None:
    with outside(lambda _: Reply()) as receiver:
        at = f"{PATH}/{create(alice, receiver.url).json['data']['id']}"
        made = alice.api("POST", f"{at}/test").json["data"]
        delivery.run()
        response = alice.api("POST", f"{at}/deliveries/{made['id']}/resend")
        assert (response.status_code, response.json["data"]["status"]) == (202, "pending")
        delivery.run()
        first, second = receiver.seen
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert alice.api("GET", f"{at}/deliveries").json["data"][0]["status"] == "delivered"


def test_a_workspace_has_at_most_twenty_webhooks(alice: Person) -> None:
    codes = [create(alice).status_code for _ in range(21)]
    assert codes == [201] * 20 + [422]


def test_a_post_without_a_body_needs_no_content_type_and_ignores_a_body(alice: Person, hook: Any) -> None:
    for more in ({}, {"data": b"{"}, {"data": b"x", "content_type": "text/plain"}, {"json": {"a": 1}}):
        assert alice.api("POST", f"{PATH}/{hook['id']}/test", **more).status_code == 202
