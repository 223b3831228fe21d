"""Failures of the Image CDN routes are bare objects, whoever raised them; and which keys may call these routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from portal.accounts import access
from portal.db import db
from portal.listings import copies, removal
from portal.listings.models import IntegrationAccount, Listing, ListingImage
from portal.work import work
from tests.factories import Person
from tests.listings import stays

PATH, LISTINGS = "/api/v1/integration-definition", "/api/v1/listings"
SWITCH, ACCOUNTS = f"{PATH}/hostaway/images-cdn", f"{PATH}/hostaway/accounts"
SWITCHED = {"enableImagesCDN": True}
CREDENTIALS = {"clientId": "1", "clientSecret": "a secret"}


def said(response: Any) -> tuple[int, str]:
    """Check a failure's form and headers; return its status and code."""
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in response.headers
    assert list(response.json) == ["code", "message", "details"]
    assert response.json["message"].strip().endswith(".")
    return response.status_code, response.json["code"]


def test_404_for_unknown_paths(app: Flask, alice: Person, subtests: pytest.Subtests) -> None:
    for path in [
        f"{PATH}/",
        f"{PATH}/hostaway",
        f"{SWITCH}/",
        f"{PATH}//accounts",
        f"{LISTINGS}/",
        f"{LISTINGS}/1/2/3",
    ]:
        with subtests.test(path=path):
            assert said(alice.api("GET", path)) == (404, "not_found")
            assert said(app.test_client().post(path)) == (404, "not_found")


def test_neighbouring_paths_answer_in_their_own_dialect(alice: Person, subtests: pytest.Subtests) -> None:
    for path in ("/api/v1/integration-definitions", "/api/v1/listingsx", "/api/v1"):
        with subtests.test(path=path):
            response = alice.api("GET", path)
            assert (response.status_code, list(response.json)) == (404, ["error"])


ALLOWED = [
    ("GET", SWITCH, {"PATCH", "OPTIONS"}),
    ("PUT", ACCOUNTS, {"GET", "HEAD", "POST", "OPTIONS"}),
    ("PUT", f"{ACCOUNTS}/1", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
    ("POST", LISTINGS, {"GET", "HEAD", "OPTIONS"}),
    ("DELETE", f"{LISTINGS}/1", {"GET", "HEAD", "OPTIONS"}),
]


def test_405_lists_the_allowed_methods(alice: Person, subtests: pytest.Subtests) -> None:
    for method, path, allowed in ALLOWED:
        with subtests.test(method=method, path=path, allowed=allowed):
            response = alice.api(method, path)
            assert said(response) == (405, "method_not_allowed")
            assert set(response.headers["Allow"].split(", ")) == allowed


def test_400_for_a_body_that_is_not_json(alice: Person, subtests: pytest.Subtests) -> None:
    for body in (b"", b"{", b"\xff\xfe\xff", b'{"a":' * 10_000, b"1" * 5_000):
        with subtests.test(body=body):
            assert said(alice.api("PATCH", SWITCH, data=body, content_type="application/json")) == (400, "bad_request")
            assert said(alice.api("POST", ACCOUNTS, data=body, content_type="application/json")) == (400, "bad_request")


def test_422_for_json_that_is_not_an_object(alice: Person, subtests: pytest.Subtests) -> None:
    for body in (b"null", b"[]", b"1", b'"enableImagesCDN"', b"true"):
        with subtests.test(body=body):
            assert said(alice.api("PATCH", SWITCH, data=body, content_type="application/json")) == (422, "fields")
            assert said(alice.api("POST", ACCOUNTS, data=body, content_type="application/json")) == (422, "fields")


NOT_BOOLEANS = [
    {},
    {"enableImagesCDN": None},
    {"enableImagesCDN": "true"},
    {"enableImagesCDN": 1},
    {"enableImagesCDN": 0.0},
    {"enableImagesCDN": [True]},
    {"enableImagesCdn": True},
    {"enable_images_cdn": True},
]


def test_a_non_boolean_is_a_422_that_names_the_field(alice: Person, subtests: pytest.Subtests) -> None:
    for body in NOT_BOOLEANS:
        with subtests.test(body=body):
            response = alice.api("PATCH", SWITCH, json=body)
            assert said(response) == (422, "fields")
            assert list(response.json["details"]) == ["enableImagesCDN"]
            assert alice.api("GET", PATH).json == []


UNUSABLE = [
    {},
    {"credentials": None},
    {"credentials": []},
    {"credentials": "clientId"},
    {"credentials": {"clientId": 1, "clientSecret": "s"}},
    {"credentials": {"clientId": None, "clientSecret": "s"}},
    {"credentials": {"clientId": {"a": "b"}, "clientSecret": "s"}},
    {"credentials": {"clientId": "\0", "clientSecret": "s"}},
    {"credentials": {"clientId": "\ud800", "clientSecret": "s"}},
    {"credentials": CREDENTIALS, "name": None},
    {"credentials": CREDENTIALS, "name": 1},
    {"credentials": CREDENTIALS, "name": "x" * 121},
    {"credentials": CREDENTIALS, "name": "a\0b"},
]


def test_an_invalid_account_is_a_422_that_does_not_echo_the_request(alice: Person, subtests: pytest.Subtests) -> None:
    for body in UNUSABLE:
        with subtests.test(body=body):
            response = alice.api("POST", ACCOUNTS, json=body)
            assert said(response) == (422, "fields")
            assert "a secret" not in response.text
            assert alice.api("GET", ACCOUNTS).json == []


def test_415_for_another_content_type(alice: Person, subtests: pytest.Subtests) -> None:
    for type in (None, "text/plain", "application/x-www-form-urlencoded"):
        with subtests.test(type=type):
            response = alice.api("PATCH", SWITCH, data=b'{"enableImagesCDN": true}', content_type=type)
            assert said(response) == (415, "unsupported_media_type")


def test_413_for_a_body_that_is_too_large(alice: Person) -> None:
    response = alice.api("POST", ACCOUNTS, json={"credentials": {**CREDENTIALS, "more": "x" * 256 * 1024}})
    assert said(response) == (413, "request_entity_too_large")


def test_401_without_a_key(app: Flask) -> None:
    response = app.test_client().get(PATH)
    assert said(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_reads_or_writes_as_its_scope_allows(app: Flask, alice: Person, subtests: pytest.Subtests) -> None:
    for scope in ("integrations:read", "integrations:write", "images:read", "images:write"):
        with subtests.test(scope=scope):
            secret = access.create_api_key(alice.workspace, "Half a key", scopes={scope}).secret
            half = replace(alice, key=secret)
            reading = [half.api("GET", path) for path in (PATH, ACCOUNTS, LISTINGS)]
            writing = [
                half.api("PATCH", SWITCH, json=SWITCHED),
                half.api("POST", ACCOUNTS, json={"credentials": CREDENTIALS}),
            ]
            for responses, wanted, good in (
                (reading, "integrations:read", [200] * 3),
                (writing, "integrations:write", [200, 201]),
            ):
                if scope == wanted:
                    assert [response.status_code for response in responses] == good
                    continue
                for response in responses:
                    assert said(response) == (403, "forbidden")
                    assert response.json["details"] == {"scope": wanted}
            assert half.api("GET", "/api/v1/properties").status_code == (200 if scope == "images:read" else 403)


def test_404_for_absent_accounts_and_listings_on_every_method(alice: Person) -> None:
    for method, path in (
        ("GET", f"{ACCOUNTS}/1"),
        ("DELETE", f"{ACCOUNTS}/1"),
        ("POST", f"{ACCOUNTS}/1/sync"),
        ("GET", f"{LISTINGS}/1/images"),
        ("POST", f"{LISTINGS}/1/images/1/retry"),
    ):
        assert said(alice.api(method, path))[0] == 404


def test_404_for_an_account_removed_during_the_request(
    alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(_: ListingImage) -> None:
        at_once(lambda: removal.remove_account(db.session.query(IntegrationAccount).one()), ())
        db.session.rollback()

    listing = stays.listed(alice.workspace)
    path = f"{LISTINGS}/{listing.uuid}/images/{stays.images(listing)[0].uuid}/retry"
    monkeypatch.setattr(copies, "try_again", remove)
    assert said(alice.api("POST", path)) == (404, "not_found")


def test_409_for_a_retry_while_the_cdn_is_off(alice: Person) -> None:
    listing, image = a_picture(stays.connected(alice.workspace, CREDENTIALS))
    alice.api("PATCH", SWITCH, json={"enableImagesCDN": False})
    assert said(alice.api("POST", f"{LISTINGS}/{listing.uuid}/images/{image}/retry")) == (409, "cdn_off")


def a_picture(account: IntegrationAccount) -> tuple[Listing, Any]:
    (listing,) = stays.told(account)
    return listing, stays.images(listing)[0].uuid


def test_429_past_the_limit(app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "1 per minute")
    alice.api("GET", PATH)
    response = alice.api("GET", LISTINGS)
    assert said(response) == (429, "too_many_requests")
    assert int(response.headers["Retry-After"]) >= 1


def test_503_while_the_database_is_unreachable(
    apart: Callable[..., Flask], alice: Person, subtests: pytest.Subtests
) -> None:
    away = replace(alice, app=apart(database_url="sqlite:////nowhere/at/all.db"))
    for path in (PATH, LISTINGS):
        with subtests.test(path=path):
            response = away.api("GET", path)
            assert said(response) == (503, "unavailable")
            assert int(response.headers["Retry-After"]) >= 1


def test_500_does_not_reveal_its_cause(alice: Person) -> None:
    account = stays.connected(alice.workspace, CREDENTIALS)
    with work():
        account.definition.provider = "A SECRET"  # unknown to every release, so reading it crashes
    response = alice.api("GET", PATH)
    assert said(response) == (500, "internal_server_error")
    assert "SECRET" not in response.text
