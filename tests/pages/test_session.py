"""Sign-in, sign-out, and the cookie between them."""

from __future__ import annotations

from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal import config
from portal.accounts import access
from portal.accounts.models import Session
from portal.config import Settings
from portal.db import db
from portal.pages.session import local_path
from tests.factories import Person

PASSWORD = "correct horse battery"
ABROAD = [
    "//evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "evil.example",
    "\\\\evil.example",
    " //evil.example",
    "",
]


def sign_in(
    client: FlaskClient, email: str = "alice@alma.example", password: str = PASSWORD, **more: str
) -> TestResponse:
    return client.post("/sign-in", data={"email": email, "password": password, **more})


def sessions() -> int:
    return db.session.scalar(select(func.count()).select_from(Session)) or 0


@pytest.fixture
def client(app: Flask, alice: Person) -> FlaskClient:
    access.set_password(alice.user, PASSWORD)
    return app.test_client()


def test_a_password_signs_in(client: FlaskClient) -> None:
    answer = sign_in(client)
    assert (answer.status_code, answer.location) == (303, "/properties")
    assert "Alma Stays" in client.get("/properties").text


def test_a_wrong_password_keeps_the_address_and_says_so(client: FlaskClient) -> None:
    answer = sign_in(client, password="wrong")
    assert answer.status_code == 422
    assert 'value="alice@alma.example"' in answer.text
    assert 'aria-invalid="true"' in answer.text and "wrong" not in answer.headers.get("Set-Cookie", "")


def test_signing_in_returns_to_the_requested_page(client: FlaskClient) -> None:
    answer = client.get("/jobs?state=failed")
    assert answer.location == "/sign-in?next=/jobs%3Fstate%3Dfailed"
    page = client.get(answer.location)
    assert 'name="next" value="/jobs?state=failed"' in page.text
    assert sign_in(client, next="/jobs?state=failed").location == "/jobs?state=failed"


def test_next_never_leads_to_another_site(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for path in ABROAD:
        with subtests.test(path=path):
            assert local_path(path) == "/properties"
            assert sign_in(client, next=path).location == "/properties"


def test_a_foreign_host_header_appears_nowhere(client: FlaskClient) -> None:
    for path in ("/properties", "/sign-in", "/nowhere"):
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        answer = client.get(path, headers=headers)
        assert "evil.example" not in answer.text + str(answer.headers)


def test_an_expired_session_sends_htmx_to_the_sign_in_page(client: FlaskClient) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/settings/people"}
    answer = client.post("/settings/people", headers=headers)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in?next=/settings/people")


def test_the_cookie_is_same_site_and_http_only(client: FlaskClient) -> None:
    cookie = SimpleCookie(sign_in(client).headers["Set-Cookie"])["frontage"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    assert not cookie["secure"]


def test_over_https_the_cookie_is_bound_to_the_host(client: FlaskClient, settings: Settings) -> None:
    config.use(replace(config.settings(), public_url="https://photos.example"))
    answer = sign_in(client)
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["__Host-frontage"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_signing_in_again_ends_the_previous_session(client: FlaskClient) -> None:
    sign_in(client)
    first = client.get_cookie("frontage")
    sign_in(client)
    second = client.get_cookie("frontage")
    assert first and second and first.value != second.value
    assert access.user_of_session(first.value) is None
    assert sessions() == 1


def test_a_planted_session_is_never_reused(client: FlaskClient) -> None:
    client.set_cookie("frontage", "planted")
    sign_in(client)
    cookie = client.get_cookie("frontage")
    assert cookie and cookie.value != "planted"


def test_signing_out_ends_the_session_on_the_server_too(client: FlaskClient) -> None:
    sign_in(client)
    cookie = client.get_cookie("frontage")
    assert cookie
    assert client.post("/sign-out").location == "/sign-in"
    assert client.get_cookie("frontage") is None
    client.set_cookie("frontage", cookie.value)
    assert client.get("/properties").status_code == 303


def test_opening_a_sign_in_link_does_not_use_it_up(client: FlaskClient, alice: Person) -> None:
    token = access.create_sign_in_link(alice.user)
    for _ in range(3):  # a mail program's preview, a scanner, the reader
        assert token in client.get(f"/sign-in/link?token={token}").text
    assert client.post("/sign-in/link", data={"token": token}).status_code == 303
    answer = client.post("/sign-in/link", data={"token": token})
    assert answer.status_code == 422 and "over" in answer.text


def test_guesses_at_one_account_are_limited(client: FlaskClient) -> None:
    answers = [sign_in(client, email, "wrong") for email in ["alice@alma.example", "ALICE@alma.example "] * 6]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429] * 2
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 15 * 60
    assert "Too many attempts" in answers[-1].text
    assert sign_in(client, "bob@alma.example").status_code == 422


def test_guesses_from_one_address_are_limited(client: FlaskClient) -> None:
    for number in range(100):
        assert sign_in(client, f"{number}@alma.example", "").status_code == 422
    answer = sign_in(client, "another@alma.example")
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
    elsewhere = client.post("/sign-in", data={"email": "x@y.zz"}, environ_base={"REMOTE_ADDR": "203.0.113.9"})
    assert elsewhere.status_code == 422


def test_a_forged_forwarded_address_does_not_bypass_the_limit(client: FlaskClient) -> None:
    statuses = [
        client.post("/sign-in", data={"email": "x@y.zz"}, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code
        for n in range(11)
    ]
    assert statuses == [422] * 10 + [429]
