"""Settings: plan and usage, keys, people, the password."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select

from portal.accounts import access
from portal.accounts.models import ApiKey, Session, User
from portal.db import db
from portal.errors import Unauthorized
from portal.images import imports
from portal.images.models import Property
from tests.factories import Person, photo_in
from tests.pages.conftest import HTMX

SECRET = re.compile(r'<code id="secret">([^<]+)</code>')
KEY = {"name": "Booking engine", "scopes": ["images:read"]}


def test_the_plan_and_its_usage_are_shown(alice: Person, home: Property) -> None:
    photo_in(home)
    page = alice.browser().get("/settings/plan-and-keys").text
    assert "Free plan" in page and "20 photos" in page and "Alder Cottage" in page


def test_the_imports_of_this_month_are_counted_from_the_rows(alice: Person, home: Property) -> None:
    imports.start(home, ["https://photos.example/1.jpg", "https://photos.example/2.jpg"])
    page = alice.browser().get("/settings/plan-and-keys").text
    assert "<b>2</b><span>of 200</span>" in page and "2 in progress" in page and "Resets on 1 " in page


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_new_key_is_shown_once_and_works(alice: Person, headers: dict[str, str]) -> None:
    browser = alice.browser()
    answer = browser.post("/settings/keys", data=KEY, headers=headers)
    (secret,) = SECRET.findall(answer.text)
    key = access.key_of_secret(secret)
    assert (key.name, key.scopes, key.is_admin, key.made_by) == ("Booking engine", {"images:read"}, False, "Alice")
    assert key.workspace_id == alice.workspace.id
    assert answer.headers["Cache-Control"] == "private, no-store"
    later = browser.get("/settings/plan-and-keys").text
    assert secret not in later and key.hint in later


def test_a_key_without_a_name_or_scope_is_refused(alice: Person) -> None:
    browser = alice.browser()
    answer = browser.post("/settings/keys", data={"name": " "}, headers=HTMX)
    assert answer.status_code == 422 and 'aria-invalid="true"' in answer.text
    answer = browser.post("/settings/keys", data={"name": "Typed"})
    assert answer.status_code == 422 and 'value="Typed"' in answer.text


def test_a_revoked_key_stops_working_immediately(alice: Person) -> None:
    key = access.key_of_secret(alice.key)
    answer = alice.browser().post(f"/settings/keys/{key.uuid}/revoke")
    assert answer.status_code == 303
    with pytest.raises(Unauthorized):
        access.key_of_secret(alice.key)
    assert alice.api("GET", "/api/v1/properties").status_code == 401


def test_bob_sees_keys_and_people_without_their_buttons(bob: Person) -> None:
    browser = bob.browser()
    keys, people = browser.get("/settings/plan-and-keys").text, browser.get("/settings/people").text
    assert "Alice&#39;s key" in keys and "Revoke" not in keys and "Create key" not in keys
    assert "alice@alma.example" in people and "New link" not in people and "Add person" not in people


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_new_person_signs_in_by_the_link_that_is_shown_once(alice: Person, headers: dict[str, str]) -> None:
    browser = alice.browser()
    answer = browser.post("/settings/people", data={"email": "dora@alma.example", "name": "Dora"}, headers=headers)
    (link,) = SECRET.findall(answer.text)
    token = link.partition("token=")[2]
    dora = access.user_of_session(access.sign_in_by_link(token))
    assert dora and (dora.name, dora.is_admin, dora.workspace_id) == ("Dora", False, alice.workspace.id)
    assert token not in browser.get("/settings/people").text


def test_a_taken_address_is_refused_and_typed_text_stays(alice: Person, charlie: Person) -> None:
    answer = alice.browser().post("/settings/people", data={"email": "charlie@corvid.example", "name": "C"})
    assert answer.status_code == 422 and 'value="charlie@corvid.example"' in answer.text
    assert db.session.scalar(select(func.count()).select_from(User)) == 2


def test_an_admin_makes_a_new_link_for_a_person_who_lost_the_password(alice: Person, bob: Person) -> None:
    answer = alice.browser().post(f"/settings/people/{bob.user.uuid}/link")
    (link,) = SECRET.findall(answer.text)
    assert access.user_of_session(access.sign_in_by_link(link.partition("token=")[2])) == bob.user


def test_setting_a_password_keeps_this_session_and_ends_all_others(bob: Person) -> None:
    here, there = bob.browser(), bob.browser()
    answer = here.post("/settings/you/password", data={"password": "correct horse battery"})
    assert answer.status_code == 200 and "Your password is set" in answer.text
    assert here.get("/settings/you").status_code == 200
    assert there.get("/settings/you").status_code == 303
    assert db.session.scalar(select(func.count()).select_from(Session)) == 1
    assert access.sign_in("bob@alma.example", "correct horse battery")


def test_a_password_that_is_too_short_changes_nothing(bob: Person) -> None:
    here, there = bob.browser(), bob.browser()
    answer = here.post("/settings/you/password", data={"password": "hunter2"})
    assert answer.status_code == 422 and 'aria-invalid="true"' in answer.text and "hunter2" not in answer.text
    assert there.get("/settings/you").status_code == 200


def test_the_name_of_a_key_is_escaped(alice: Person) -> None:
    page = alice.browser().post("/settings/keys", data={**KEY, "name": '"><script>x</script>'}).text
    assert "<script>x" not in page
    assert db.session.scalar(select(func.count()).select_from(ApiKey)) == 2
