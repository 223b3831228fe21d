"""PUT and GET /api/properties/:id: callers, errors and idempotency in the Manage Property Images envelope."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.accounts import access
from portal.accounts.models import IdempotencyRecord
from portal.db import db, now
from portal.images.models import Image, Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.api.manage_images import PHOTO, Unread, form, put, put_raw, refused
from tests.buckets import Buckets
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy

ANOTHER = factories.jpeg(48, 64)


def with_key(app: Flask, method: str, path: str, secret: str | None) -> TestResponse:
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    return app.test_client().open(path, method=method, headers=headers, json={"name": "Elm"})


def test_the_get_answers_as_the_put_does(alice: Person, home: Property) -> None:
    made = put(alice, home, images=[PHOTO]).json
    found = alice.api("GET", f"/api/properties/{home.id}")
    assert found.status_code == 200
    assert found.json == made | {"message": "Property found"}
    assert found.headers["Cache-Control"] == "no-store"
    assert alice.api("HEAD", f"/api/properties/{home.id}").status_code == 200


def test_a_refusing_bucket_is_logged_once(alice: Person, home: Property, caplog: pytest.LogCaptureFixture) -> None:
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == "PUT" else None
        response = put(alice, home, images=[PHOTO])
    assert response.json == {"success": False, "message": "Failed to update property"}
    said = [record for record in caplog.records if record.name == "portal.api.dialects"]
    assert len(said) == 1
    assert f"error_id={response.headers['X-Error-Id']}" in said[0].getMessage()
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("secret", [None, "", "fr_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_a_missing_or_invalid_key_is_a_401(app: Flask, home: Property, method: str, secret: str | None) -> None:
    for path in (f"/api/properties/{home.id}", "/api/properties/987654321"):
        response = with_key(app, method, path, secret)
        assert "API key" in refused(response, 401)
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_editors_key_or_a_wrong_scope_is_a_403(
    app: Flask, alice: Person, bob: Person, home: Property, method: str
) -> None:
    scope = "images:write" if method == "GET" else "images:read"
    half = access.create_api_key(alice.workspace, "Half a key", scopes={scope}, admin=True).secret
    for path in (f"/api/properties/{home.id}", "/api/properties/987654321"):
        assert "admin" in refused(with_key(app, method, path, bob.key), 403)
        assert "scope" in refused(with_key(app, method, path, half), 403)


def test_a_key_is_refused_before_its_body_is_read(app: Flask, bob: Person, home: Property) -> None:
    response = bob.api("PUT", f"/api/properties/{home.id}", environ_overrides=Unread.body(1000))
    refused(response, 403)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_absent_foreign_and_malformed_ids_get_the_same_404(
    alice: Person, charlie: Person, home: Property, method: str
) -> None:
    refs = (home.id, home.uuid, 987654321, 0, "-1", "1.0", "0x1", "prop456", "9" * 30, "%20", "١")
    said = {refused(charlie.api(method, f"/api/properties/{ref}", json={}), 404) for ref in refs}
    assert said == {"There is no such property."}


def test_unknown_paths_are_answered_in_this_dialect(app: Flask, subtests: pytest.Subtests) -> None:
    for path in ("", "/", "/1/", "/1/images", "//1"):
        with subtests.test(path=path):
            refused(app.test_client().put(f"/api/properties{path}", json={}), 404)


def test_405_lists_the_allowed_methods(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for method in ("POST", "PATCH", "DELETE"):
        with subtests.test(method=method):
            response = alice.api(method, f"/api/properties/{home.id}", json={})
            refused(response, 405)
            assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "PUT"}


def test_429_says_when_to_retry(app: Flask, alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "1 per minute")
    assert put(alice, home, name="Elm").status_code == 200
    response = put(alice, home, name="Ash")
    refused(response, 429)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


@pytest.fixture
def told(alice: Person) -> Callable[[], int]:
    """Counts the events so far."""
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])

    def count() -> int:
        db.session.rollback()
        return db.session.query(Delivery).count()

    return count


def send(person: Person, home: Property, body: tuple[bytes, str], key: str = "6d1c") -> TestResponse:
    return put_raw(person, home, *body, headers={"Idempotency-Key": key})


def test_the_same_form_under_another_boundary_is_replayed(
    alice: Person, home: Property, buckets: Buckets, told: Callable[[], int]
) -> None:
    first = send(alice, home, form("one", PHOTO, ANOTHER, newImageRotations="[1]"))
    assert first.status_code == 200
    objects, events = buckets.listing(), told()
    for boundary in ("one", "another"):
        again = send(alice, home, form(boundary, PHOTO, ANOTHER, newImageRotations="[1]"))
        assert (again.status_code, again.data) == (200, first.data)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert (buckets.listing(), told()) == (objects, events)
    assert db.session.query(Image).count() == 2


OTHERS = [
    form("x", ANOTHER, name="Elm"),
    form("x", PHOTO, PHOTO, name="Elm"),
    form("x", name="Elm"),
    form("x", PHOTO, name="Ash"),
    form("x", PHOTO),
    form("x", PHOTO, name="Elm", imagesToDelete="[1]"),
    (b'{"name":"Elm"}', "application/json"),
]


def test_another_form_under_the_key_is_a_422(
    alice: Person, home: Property, buckets: Buckets, told: Callable[[], int], subtests: pytest.Subtests
) -> None:
    assert send(alice, home, form("x", PHOTO, name="Elm")).status_code == 200
    objects, events = buckets.listing(), told()
    for other in OTHERS:
        with subtests.test(other=other):
            assert "Idempotency-Key" in refused(send(alice, home, other), 422)
            assert (buckets.listing(), told()) == (objects, events)


def test_a_key_used_on_the_property_images_api_is_taken_here_too(alice: Person, home: Property) -> None:
    headers = {"Idempotency-Key": "6d1c"}
    alice.api("POST", "/api/v1/properties", json={"name": "Barn"}, headers=headers)
    refused(send(alice, home, form("x", PHOTO)), 422)


def test_a_repeat_during_the_first_run_is_a_409_and_a_dead_run_frees_the_key(alice: Person, home: Property) -> None:
    send(alice, home, form("x", PHOTO))
    with work():  # as if it were still running
        unanswered = {"status": None, "body": None, "answered_at": None, "claim": uuid4(), "claimed_at": now()}
        db.session.execute(update(IdempotencyRecord).values(unanswered))
    response = send(alice, home, form("y", PHOTO))
    refused(response, 409)
    assert response.headers["Retry-After"] == "1"
    with work():
        db.session.execute(update(IdempotencyRecord).values(claimed_at=now() - timedelta(minutes=10, seconds=1)))
    assert send(alice, home, form("z", PHOTO)).status_code == 200


def test_a_failed_request_frees_its_key(alice: Person, home: Property, told: Callable[[], int]) -> None:
    for body, status in (
        (form("x", PHOTO, newImageRotations="[4]"), 400),
        (form("x", b"no photo"), 500),
        (form("x", PHOTO, existingImageRotations='{"987654321":1}'), 500),
    ):
        assert send(alice, home, body).status_code == status
        assert db.session.scalar(select(IdempotencyRecord.id)) is None
    assert told() == 0
    assert send(alice, home, form("x", PHOTO)).status_code == 200


def test_an_invalid_key_is_a_400(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for key in ("", " ", "x" * 256, "a\tb"):
        with subtests.test(key=key):
            refused(send(alice, home, form("x", PHOTO), key), 400)
            assert db.session.query(Image).count() == 0


def test_ten_concurrent_requests_have_one_effect(
    alice: Person, home: Property, told: Callable[[], int], at_once: Callable[..., list[Any]]
) -> None:
    path, headers = f"/api/properties/{home.id}", {"Idempotency-Key": "6d1c"}

    def ask(number: int) -> TestResponse:
        body, type = form(f"x{number}", PHOTO)
        return alice.api("PUT", path, data=body, content_type=type, headers=headers)

    answers = at_once(ask, *[(number,) for number in range(10)])
    codes = [answer.status_code for answer in answers]
    assert set(codes) <= {200, 409}
    assert 200 in codes
    assert db.session.query(Image).count() == 1
    assert told() == 1


def test_a_json_body_is_compared_byte_for_byte(alice: Person, home: Property) -> None:
    body = json.dumps({"name": "Elm"}).encode()
    first = send(alice, home, (body, "application/json"))
    assert send(alice, home, (body, "application/json")).data == first.data
    refused(send(alice, home, (body + b" ", "application/json")), 422)
