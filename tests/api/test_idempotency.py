"""Idempotency-Key on writes (tests/contracts/README.md, "Idempotency keys")."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

import pytest
import requests
from flask import Flask

from portal import config
from portal.accounts import access
from portal.accounts.models import IdempotencyRecord
from portal.db import db, now
from portal.images.models import Image, Property, Upload
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.accounts.conftest import grow_old
from tests.conftest import BOTH
from tests.factories import Person

PATH = "/api/v1/properties"
BARN = {"name": "Barn"}
KEY = {"Idempotency-Key": "6d1c"}


def create(person: Person, body: Any = None, key: str = "6d1c", **kwargs: Any) -> Any:
    return person.api("POST", PATH, json=body or BARN, headers={"Idempotency-Key": key}, **kwargs)


def presign(person: Person, home: Property) -> Any:
    body = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 2048}
    return person.api("POST", f"{PATH}/{home.uuid}/images/presign", json=body, headers=KEY)


def homes() -> int:
    db.session.rollback()
    return db.session.query(Property).count()


def test_a_repeated_request_gets_the_same_response_and_no_second_effect(alice: Person) -> None:
    first, second = create(alice), create(alice)
    assert (second.status_code, second.data) == (201, first.data)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.content_type == first.content_type
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert homes() == 1


def test_requests_without_a_key_are_all_carried_out(alice: Person) -> None:
    for _ in range(2):
        alice.api("POST", PATH, json=BARN)
    assert homes() == 2


def test_a_repeated_presign_returns_the_same_key_and_url(alice: Person, home: Property) -> None:
    assert presign(alice, home).data == presign(alice, home).data
    assert db.session.query(Upload).count() == 1


def test_confirms_changes_and_deletes_are_replayed(alice: Person, home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    at = f"{PATH}/{home.uuid}"
    for method, path, body, status in (
        ("POST", f"{at}/images/confirm", said, 201),
        ("PATCH", at, {"name": "Elm"}, 200),
        ("DELETE", at, None, 204),
    ):
        headers = {"Idempotency-Key": f"{method} it"}
        first, second = (alice.api(method, path, json=body, headers=headers) for _ in range(2))
        assert (first.status_code, second.status_code, second.data) == (status, status, first.data)
        assert second.headers.get("Location") == first.headers.get("Location")
        assert second.headers["Idempotent-Replayed"] == "true"


def test_another_request_under_the_key_is_a_422(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    json = {"content_type": "application/json", "headers": KEY}
    path, body = f"{PATH}/{home.uuid}", b'{"name":"Elm","sleeps":2}'
    assert alice.api("PATCH", path, data=body, **json).status_code == 200
    others = {
        "body": ("PATCH", path, b'{"name":"Ash","sleeps":2}'),
        "spaces": ("PATCH", path, b'{"name": "Elm", "sleeps": 2}'),  # documented: compared byte for byte
        "path": ("PATCH", f"{PATH}/{home.id}", body),
        "query": ("PATCH", f"{path}?again=1", body),
        "method": ("POST", PATH, body),
    }
    for change, (method, path, body) in others.items():
        with subtests.test(change=change):
            response = alice.api(method, path, data=body, **json)
            assert (response.status_code, response.json["error"]["code"]) == (422, "idempotency_key_reused")
            assert homes() == 1


def test_a_repeat_while_the_first_request_runs_is_a_409(alice: Person) -> None:
    with work():  # claimed by another process
        create_record(alice)
    response = create(alice)
    assert (response.status_code, response.json["error"]["code"]) == (409, "idempotency_in_flight")
    assert response.headers["Retry-After"] == "1"
    assert homes() == 0


def test_a_repeat_waits_for_the_rest_of_the_lease_once_the_first_request_has_probably_died(alice: Person) -> None:
    with work():
        create_record(alice)
    retry_after = {}
    for age in (4, 5.5, 20, 59.5):
        grow_old(claimed_at=timedelta(seconds=age))
        retry_after[age] = create(alice).headers["Retry-After"]
    assert retry_after[4] == "1"
    for age, most in ((5.5, 55), (20, 40), (59.5, 1)):  # a slow machine reaches them later
        assert max(1, most - 2) <= int(retry_after[age]) <= most


def test_the_key_of_a_dead_process_is_free_after_a_minute(alice: Person) -> None:
    with work():
        create_record(alice)
    grow_old(claimed_at=timedelta(seconds=61))
    assert create(alice).status_code == 201
    assert homes() == 1


def create_record(person: Person) -> None:
    """Add a claim, not answered yet, of the very request that `create` sends."""
    asked = f"POST {PATH}?\n".encode() + b'{"name": "Barn"}'
    db.session.add(
        IdempotencyRecord(
            workspace_id=person.workspace.id,
            key="6d1c",
            fingerprint=hashlib.sha256(asked).hexdigest(),
            claim=uuid4(),
            claimed_at=now(),
        )
    )


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_fifty_concurrent_requests_have_one_effect_per_key(
    app: Flask, alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    storm(app, alice, at_once, monkeypatch, keys=2)


@pytest.mark.storm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_fifty_concurrent_requests_for_each_of_a_hundred_keys(
    app: Flask, alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    storm(app, alice, at_once, monkeypatch, keys=100)


def storm(app: Flask, alice: Person, at_once: Any, monkeypatch: pytest.MonkeyPatch, *, keys: int) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "1000000 per minute")
    for n in range(keys):
        answers = at_once(lambda key: create(alice, key=key), *[(f"key-{n}",)] * 50)
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    assert homes() == keys


def test_thirty_concurrent_confirms_over_http_make_one_image(
    live: str, alice: Person, home: Property, at_once: Callable[..., list[Any]]
) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    headers = {"Authorization": f"Bearer {alice.key}", **KEY}
    url = f"{live}{PATH}/{home.uuid}/images/confirm"
    answers = at_once(lambda: requests.post(url, json=said, headers=headers, timeout=30), *[()] * 30)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    db.session.rollback()
    assert db.session.query(Image).count() == 1


def test_a_refused_request_frees_its_key(alice: Person, home: Property) -> None:
    assert create(alice, {"name": ""}).status_code == 422
    assert create(alice, {"name": 1}).status_code == 422
    absent = alice.api("PATCH", f"{PATH}/0", json=BARN, headers=KEY)
    assert absent.status_code == 422
    assert create(alice).status_code == 201


def test_a_server_error_has_no_effect_and_frees_its_key(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    ours = config.settings()
    no_credentials = replace(ours, s3_access_key=None, s3_secret_key=None)  # the URL is signed after the row was added
    no_address = replace(ours, s3_public_endpoint_url="http://[")
    try:
        for changed, status in ((no_credentials, 503), (no_address, 500)):
            storage.connect(changed)
            assert presign(alice, home).status_code == status
            assert db.session.query(Upload).count() == 0
            assert db.session.query(IdempotencyRecord).count() == 0
    finally:
        storage.connect(ours)
    assert presign(alice, home).status_code == 200
    assert db.session.query(Upload).count() == 1


def test_an_invalid_key_is_a_400(alice: Person, subtests: pytest.Subtests) -> None:
    for key in ("", " ", "x" * 256, "a\tb", "a\x7fb", "a\x01", "a\x85b"):
        with subtests.test(key=key):
            assert create(alice, key=key).status_code == 400
            assert homes() == 0


def test_any_printable_key_is_accepted(alice: Person, subtests: pytest.Subtests) -> None:
    for key in ("x", "x" * 255, "'; DROP TABLE property; --", '"quoted"', "clé"):
        with subtests.test(key=key):
            assert create(alice, key=key).data == create(alice, key=key).data


def test_a_key_on_a_read_is_ignored(alice: Person) -> None:
    for _ in range(2):
        assert alice.api("GET", PATH, headers=KEY).status_code == 200
    assert db.session.query(IdempotencyRecord).count() == 0


def test_a_key_is_forgotten_after_a_day(alice: Person) -> None:
    create(alice)
    grow_old(answered_at=timedelta(hours=24))
    assert "Idempotent-Replayed" not in create(alice).headers
    assert homes() == 2


def test_idempotency_keys_are_shared_within_a_workspace_only(
    app: Flask, alice: Person, bob: Person, charlie: Person
) -> None:
    assert create(alice).data == create(bob).data
    assert create(charlie).data != create(alice).data
    assert homes() == 2


def a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the clock by a second, which is the precision of signed URLs."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=1)

    monkeypatch.setattr(storage, "datetime", Later)


def test_a_presign_replayed_after_its_url_expired_has_a_new_url_for_the_same_key(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = presign(alice, home).json["data"]
    grow_old(answered_at=timedelta(minutes=50))
    assert presign(alice, home).json["data"] == first
    grow_old(answered_at=timedelta(hours=1))
    a_second_passes(monkeypatch)
    response = presign(alice, home)
    again = response.json["data"]
    assert again.pop("uploadUrl") != first.pop("uploadUrl")
    assert again == first
    assert response.headers["Idempotent-Replayed"] == "true"
    assert db.session.query(Upload).count() == 1


def test_a_revoked_api_key_gets_no_replay(alice: Person) -> None:
    create(alice)
    access.revoke_api_key(alice.workspace, str(access.api_keys(alice.workspace)[0].uuid))
    assert create(alice).status_code == 401
