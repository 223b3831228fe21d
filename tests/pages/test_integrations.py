"""Connecting an account of a PMS, and removing one."""

from __future__ import annotations

import pytest

from portal.db import db
from portal.listings import integrations
from portal.listings.models import IntegrationAccount, Listing
from tests.factories import Person, jpeg
from tests.listings import stays

CONNECT = "/listings/connect/hostaway"
FORM = {"clientId": "12345", "clientSecret": "so-very-secret", "name": "Sea Stays", "baseUrl": ""}


def accounts() -> list[IntegrationAccount]:
    db.session.rollback()
    return db.session.query(IntegrationAccount).order_by(IntegrationAccount.id).all()


def test_there_is_a_form_for_each_provider(alice: Person) -> None:
    page = alice.browser().get("/listings/connect").text
    assert f'href="{CONNECT}"' in page and "Account ID, API key" in page
    form = alice.browser().get(CONNECT).text
    assert "Hostaway → Settings → Hostaway API" in form
    secret = form.partition('id="f-clientSecret"')[2].partition(">")[0]
    assert 'type="password"' in secret and 'autocomplete="off"' in secret
    assert '<details class="more"><summary>More</summary>' in form and 'id="f-baseUrl"' in form


def test_an_unknown_provider_has_none(alice: Person) -> None:
    for path in ("/listings/connect/none", "/listings/connect/%C3%A9"):
        assert alice.browser().get(path).status_code == 404
        assert alice.browser().post(path, data=FORM).status_code == 404


def test_an_account_is_connected_and_its_sync_is_seen(alice: Person) -> None:
    browser = alice.browser()
    answer = browser.post(CONNECT, data=FORM)
    assert (answer.status_code, answer.location) == (303, "/listings?provider=hostaway")
    (account,) = accounts()
    assert (account.name, account.definition.workspace_id) == ("Sea Stays", alice.workspace.id)
    assert account.credentials and "baseUrl" not in account.credentials, "what is left blank is not sent"
    page = browser.get(answer.location).text
    assert "Sea Stays" in page and "Starts in a moment" in page
    assert "so-very-secret" not in page and "12345" not in page


def test_what_cannot_be_says_so_at_its_field_and_keeps_what_was_typed(alice: Person) -> None:
    answer = alice.browser().post(CONNECT, data={**FORM, "name": "x" * 121, "baseUrl": "https://typed.example"})
    assert answer.status_code == 422
    assert 'id="f-name-wrong"' in answer.text and 'value="12345"' in answer.text
    assert '<details class="more" open>' in answer.text and 'value="https://typed.example"' in answer.text
    assert "so-very-secret" not in answer.text
    assert accounts() == []


def test_the_same_account_twice_says_so(alice: Person) -> None:
    browser = alice.browser()
    browser.post(CONNECT, data=FORM)
    answer = browser.post(CONNECT, data=FORM)
    assert answer.status_code == 422 and "This account is connected already." in answer.text
    assert len(accounts()) == 1


def test_the_same_account_in_another_workspace_is_another(alice: Person, charlie: Person) -> None:
    for person in (alice, charlie):
        assert person.browser().post(CONNECT, data=FORM).status_code == 303
    assert len(accounts()) == 2


def test_too_many_accounts_say_so(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrations, "MAX_ACCOUNTS", 1)
    alice.browser().post(CONNECT, data=FORM)
    answer = alice.browser().post(CONNECT, data={**FORM, "clientId": "6"})
    assert answer.status_code == 422 and "at most 1 accounts" in answer.text


def test_removing_asks_first_and_says_what_goes(alice: Person) -> None:
    listing = stays.listed(alice.workspace, pictures=3)
    stays.copied(listing, jpeg())
    (account,) = accounts()
    browser, path = alice.browser(), f"/listings/accounts/{account.uuid}/remove"
    page = browser.get(path).text
    assert "Its 1 listing and the copy of 1 picture go from here" in page and "Nothing changes at Hostaway" in page
    assert len(accounts()) == 1
    answer = browser.post(path)
    assert (answer.status_code, answer.location) == (303, "/listings?provider=hostaway")
    assert accounts() == [] and db.session.query(Listing).all() == []
    page = browser.get(answer.location).text
    assert "No account is connected" in page and "with the first sync" not in page
    assert browser.get(path).status_code == 404


def test_an_account_without_listings_is_removed_too(alice: Person) -> None:
    alice.browser().post(CONNECT, data=FORM)
    (account,) = accounts()
    assert "It has no listings here" in alice.browser().get(f"/listings/accounts/{account.uuid}/remove").text


def test_only_admins_connect_and_remove(bob: Person) -> None:
    listing = stays.listed(bob.workspace)
    browser = bob.browser()
    for path in (CONNECT, f"/listings/accounts/{listing.account.uuid}/remove"):
        assert browser.get(path).status_code == 403
        assert browser.post(path, data=FORM).status_code == 403
    assert len(accounts()) == 1
