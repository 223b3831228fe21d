"""Authentication and rate limits of the API (tests/contracts/README.md, "Authentication", "Rate limits")."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal.accounts import access
from portal.accounts.models import ApiKey
from portal.db import db, now
from portal.images.models import Property
from portal.work import work
from tests.factories import Person

PATH = "/api/v1/properties"


def call(app: Flask, **kwargs: Any) -> Any:
    return app.test_client().get(kwargs.pop("path", PATH), **kwargs)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_valid_key_is_accepted(app: Flask, alice: Person) -> None:
    assert call(app, headers=bearer(alice.key)).status_code == 200
    assert call(app, headers={"Authorization": f"bearer {alice.key}"}).status_code == 200


INVALID_KEYS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer fr_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "Bearer a=b",
    "Bearer \xff\xfe",
    "Basic KEY",
    "Token KEY",
    "KEY",
]


def test_a_missing_or_invalid_key_is_a_401(app: Flask, alice: Person, subtests: pytest.Subtests) -> None:
    for authorization in INVALID_KEYS:
        with subtests.test(authorization=authorization):
            headers = {} if authorization is None else {"Authorization": authorization.replace("KEY", alice.key)}
            response = call(app, headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert set(response.json["error"]) == {"code", "message", "details"}
            assert response.json["error"]["code"] == "unauthorized"


def test_a_key_in_the_query_or_a_cookie_is_ignored(app: Flask, alice: Person) -> None:
    for name in ("key", "api_key", "access_token", "token"):
        assert call(app, path=f"{PATH}?{name}={alice.key}").status_code == 401
    client = app.test_client()
    client.set_cookie("Authorization", f"Bearer {alice.key}")
    assert client.get(PATH).status_code == 401


def test_a_browser_session_is_ignored(alice: Person) -> None:
    browser = alice.browser()
    assert browser.get(PATH).status_code == 401
    assert browser.post(PATH, json={"name": "Barn"}).status_code == 401


def test_a_revoked_key_is_a_401_immediately(app: Flask, alice: Person) -> None:
    assert call(app, headers=bearer(alice.key)).status_code == 200
    access.revoke_api_key(alice.workspace, str(access.api_keys(alice.workspace)[0].uuid))
    assert call(app, headers=bearer(alice.key)).status_code == 401


def test_an_expired_key_is_a_401(app: Flask, alice: Person) -> None:
    with work():
        db.session.query(ApiKey).update({"expires_at": now() - timedelta(seconds=1)})
    assert call(app, headers=bearer(alice.key)).status_code == 401


def test_a_key_without_the_scope_is_a_403(app: Flask, alice: Person, home: Property) -> None:
    reader = access.create_api_key(alice.workspace, "Reader", scopes={"images:read"}).secret
    writer = access.create_api_key(alice.workspace, "Writer", scopes={"images:write"}).secret
    client = app.test_client()
    assert client.get(PATH, headers=bearer(reader)).status_code == 200
    response = client.post(PATH, headers=bearer(reader), json={"name": "Barn"})
    assert (response.status_code, response.json["error"]["code"]) == (403, "forbidden")
    assert response.json["error"]["details"] == {"scope": "images:write"}
    assert client.delete(f"{PATH}/{home.uuid}", headers=bearer(reader)).status_code == 403
    assert client.post(PATH, headers=bearer(writer), json={"name": "Barn"}).status_code == 201
    assert client.get(PATH, headers=bearer(writer)).status_code == 403


def test_a_key_is_refused_before_its_body_is_read(app: Flask) -> None:
    response = app.test_client().post(PATH, data=b"{" * 1000, content_type="text/plain")
    assert response.status_code == 401


def test_no_response_contains_the_key(app: Flask, alice: Person) -> None:
    for response in (call(app, headers=bearer(f"{alice.key}x")), call(app, path=f"/api/v1/{alice.key}")):
        assert alice.key not in response.text


def test_exactly_a_hundred_calls_a_minute_pass(
    app: Flask, alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "100 per minute")

    def seven() -> list[int]:
        return [alice.api("GET", PATH).status_code for _ in range(7)]

    codes = [code for codes in at_once(seven, *[()] * 20) for code in codes]
    assert (codes.count(200), codes.count(429)) == (100, 40)


def test_each_response_states_what_is_left_and_a_429_when_to_retry(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "2 per minute")
    answers = [alice.api("GET", PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"2"}
    assert ["Retry-After" in answer.headers for answer in answers] == [False, False, True]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert answers[2].json["error"]["code"] == "too_many_requests"


def test_the_limit_belongs_to_the_key_whatever_x_forwarded_for_claims(
    app: Flask, alice: Person, bob: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "2 per minute")
    codes = [alice.api("GET", PATH, headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(3)]
    assert codes == [200, 200, 429]
    assert bob.api("GET", PATH).status_code == charlie.api("GET", PATH).status_code == 200


def test_the_limit_counts_all_routes_together(
    app: Flask, alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "2 per minute")
    paths = (PATH, f"{PATH}/{home.uuid}", f"{PATH}/{home.uuid}/images")
    assert [alice.api("GET", path).status_code for path in paths] == [200, 200, 429]


def test_callers_without_a_valid_key_are_limited_by_address_only(
    app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_STRANGER", "3 per minute")
    answers = [call(app, headers=bearer(f"fr_live_guess{n}")) for n in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[3].headers["Retry-After"]) >= 1
    elsewhere = call(app, headers=bearer("x"), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 401
    assert alice.api("GET", PATH).status_code == 200
