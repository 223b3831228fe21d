"""An error page says what happened, what is safe and what to do; for htmx it is a toast."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask

from portal.accounts import access
from portal.errors import Conflict, Invalid, NotFound, OverQuota, StorageFailed, TooMany
from portal.pages import errors
from portal.pages.errors import ERROR_TEXTS
from portal.work import work
from tests.factories import SAME_ORIGIN, Person
from tests.pages.conftest import HTMX


def test_an_unknown_address_is_404(app: Flask) -> None:
    answer = app.test_client().get("/nowhere")
    assert answer.status_code == 404
    assert "Page not found" in answer.text and 'href="/properties"' in answer.text


def test_htmx_gets_a_toast_and_the_page_stays(alice: Person) -> None:
    answer = alice.browser().get("/properties?after=x", headers=HTMX)
    assert (answer.status_code, answer.headers["HX-Reswap"]) == (422, "none")
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["text"] == answer.text


def test_an_unsupported_method_lists_the_supported_ones(alice: Person) -> None:
    answer = alice.browser().post("/properties")
    assert answer.status_code == 405 and "GET" in answer.headers["Allow"]


def test_a_form_that_is_too_large(alice: Person) -> None:
    answer = alice.browser().post("/properties/new", data={"name": "x" * 2_000_000})
    assert answer.status_code == 413 and ERROR_TEXTS[413].title in answer.text


def test_every_status_has_its_message(app: Flask, subtests: pytest.Subtests) -> None:
    for status in ERROR_TEXTS:
        with subtests.test(status=status):
            with app.test_request_context("/"):
                answer = errors._answer(status)
            assert answer.status_code == status
            assert ERROR_TEXTS[status].title in answer.get_data(as_text=True)


PROBLEMS = [
    (NotFound("Secret."), 404),
    (Invalid("Why."), 422),
    (OverQuota("Why."), 422),
    (Conflict("Why."), 409),
    (StorageFailed("Why."), 503),
    (TooMany("Why.", retry_after_s=7), 429),
]


def test_each_problem_has_its_status(app: Flask, subtests: pytest.Subtests) -> None:
    for problem, status in PROBLEMS:
        with subtests.test(problem=problem, status=status):
            with app.test_request_context("/"):
                answer = app.make_response(app.handle_user_exception(problem))
            assert answer.status_code == status
            assert "Secret" not in answer.get_data(as_text=True)
            assert answer.headers.get("Retry-After") == {429: "7", 503: "5"}.get(status)


def test_the_page_says_so_while_the_database_is_down(apart: Callable[..., Flask], alice: Person) -> None:
    cookie = alice.browser().get_cookie("frontage")
    assert cookie
    browser = apart(database_url="sqlite:////nowhere/at/all.db").test_client()
    browser.set_cookie("frontage", cookie.value)
    answers = [browser.get("/properties"), browser.get("/jobs", headers=HTMX), browser.get("/nowhere")]
    assert [answer.status_code for answer in answers] == [503, 503, 404]
    assert "partly unavailable" in answers[0].text and "unable to open" not in answers[0].text


def test_people_can_sign_in_while_redis_is_down(apart: Callable[..., Flask], alice: Person) -> None:
    access.set_password(alice.user, "correct horse")
    client = apart(redis_url="redis://127.0.0.1:9").test_client()
    form = {"email": alice.user.email, "password": "correct horse"}
    assert client.post("/sign-in", data=form, headers=SAME_ORIGIN).status_code == 303


def test_an_internal_error_reveals_nothing(alice: Person) -> None:
    browser = alice.browser()
    with work():
        alice.workspace.plan_name = "a secret"  # unknown to every release: reading it raises
    answer = browser.get("/settings/plan-and-keys")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text and "secret" not in answer.text
