"""Every failure under /api/v1 has the form of the Property Images API, whoever raised it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from portal.images.models import Property
from portal.work import work
from tests import factories
from tests.factories import Person

PATH = "/api/v1/properties"


def said(response: Any) -> tuple[int, str]:
    """Check a failure's form and headers; return its status and code."""
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response.headers
    assert list(response.json) == ["error"]
    assert list(response.json["error"]) == ["code", "message", "details"]
    assert response.json["error"]["message"].strip().endswith(".")
    return response.status_code, response.json["error"]["code"]


def test_404_for_unknown_paths(app: Flask, alice: Person, subtests: pytest.Subtests) -> None:
    for path in ("/api/v1", "/api/v1/", "/api/v1/nothing", f"{PATH}/", f"{PATH}/1/images/", "/api/v1//properties"):
        with subtests.test(path=path):
            assert said(alice.api("GET", path)) == (404, "not_found")
            assert said(app.test_client().post(path)) == (404, "not_found")


ALLOWED = [
    ("PUT", PATH, {"GET", "HEAD", "OPTIONS", "POST"}),
    ("PUT", f"{PATH}/1", {"GET", "HEAD", "OPTIONS", "PATCH", "DELETE"}),
    ("DELETE", f"{PATH}/1/images/confirm", {"GET", "HEAD", "OPTIONS", "PATCH", "POST"}),
]


def test_405_lists_the_allowed_methods(alice: Person, subtests: pytest.Subtests) -> None:
    for method, path, allowed in ALLOWED:
        with subtests.test(method=method, path=path, allowed=allowed):
            response = alice.api(method, path)
            assert said(response) == (405, "method_not_allowed")
            assert set(response.headers["Allow"].split(", ")) <= allowed
    assert said(alice.api("GET", f"{PATH}/1/images/presign/x")) == (404, "not_found")


NOT_JSON = [
    b"",
    b"{",
    b"nonsense",
    b"{'a': 1}",
    b"\xff\xfe\xff",
    b'{"a":' * 10_000,
    b"[" * 10_000 + b"]" * 10_000,
    b"1" * 5_000,
]


def test_400_for_a_body_that_is_not_json(alice: Person, subtests: pytest.Subtests) -> None:
    for body in NOT_JSON:
        with subtests.test(body=body):
            assert said(alice.api("POST", PATH, data=body, content_type="application/json")) == (400, "bad_request")


def test_422_for_json_that_is_not_an_object(alice: Person, subtests: pytest.Subtests) -> None:
    for body in (b"null", b"[]", b"1", b'"text"', b'"{\\"name\\": \\"Barn\\"}"', b"true"):
        with subtests.test(body=body):
            assert said(alice.api("POST", PATH, data=body, content_type="application/json")) == (422, "fields")


def test_the_last_of_two_fields_with_one_name_counts(alice: Person) -> None:
    body = b'{"name": "First", "name": "Second"}'
    response = alice.api("POST", PATH, data=body, content_type="application/json; charset=utf-8")
    assert response.json["data"]["name"] == "Second"


def test_415_for_another_content_type(alice: Person, subtests: pytest.Subtests) -> None:
    for type in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        with subtests.test(type=type):
            response = alice.api("POST", PATH, data=b'{"name": "Barn"}', content_type=type)
            assert said(response) == (415, "unsupported_media_type")


def test_413_for_a_body_that_is_too_large(alice: Person) -> None:
    body = b'{"name": "Barn", "more": "' + b"x" * (256 * 1024) + b'"}'
    response = alice.api("POST", PATH, data=body, content_type="application/json")
    assert said(response) == (413, "request_entity_too_large")


def test_503_while_storage_is_unreachable(apart: Callable[..., Flask], alice: Person, home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    body = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    away = replace(alice, app=apart(s3_endpoint_url="http://127.0.0.1:9"))
    response = away.api("POST", f"{PATH}/{home.uuid}/images/confirm", json=body)
    assert said(response) == (503, "storage_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert "Endpoint" not in response.text and "127.0.0.1" not in response.text


def test_503_while_the_database_is_unreachable(
    apart: Callable[..., Flask], alice: Person, subtests: pytest.Subtests
) -> None:
    for url in ("sqlite:////nowhere/at/all.db", "postgresql://me:secret@127.0.0.1:9/nothing"):
        with subtests.test(url=url):
            response = replace(alice, app=apart(database_url=url)).api("GET", PATH)
            assert said(response) == (503, "unavailable")
            assert int(response.headers["Retry-After"]) >= 1
            assert not {"SELECT", "secret", "127.0.0.1", "nowhere"} & set(re.split(r"\W+", response.text))


def test_500_does_not_reveal_its_cause(alice: Person, home: Property) -> None:
    with work():
        alice.workspace.plan_name = "a secret"  # unknown to every release, so reading it crashes
    body = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}
    response = alice.api("POST", f"{PATH}/{home.uuid}/images/presign", json=body)
    assert said(response) == (500, "internal_server_error")
    assert "secret" not in response.text


def test_every_path_under_api_is_answered_in_json(app: Flask, subtests: pytest.Subtests) -> None:
    for path in ("/api", "/api/", "/api/v2/nothing", "/api//v1/properties", "/api/openapi.json/"):
        with subtests.test(path=path):
            response = app.test_client().get(path)
            assert (response.status_code, response.content_type) == (404, "application/json")


def test_other_paths_are_not_answered_in_json(app: Flask) -> None:
    assert app.test_client().get("/apiary").content_type != "application/json"
