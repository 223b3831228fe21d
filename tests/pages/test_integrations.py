"""Connecting an account of a PMS, changing and removing one."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from portal.db import db, now
from portal.listings import integrations
from portal.listings.models import IntegrationAccount, Listing
from portal.work import work
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
    assert "required" in secret
    assert '<details class="more"><summary>More</summary>' in form and 'id="f-baseUrl"' in form
    assert "required" not in form.partition('id="f-baseUrl"')[2].partition(">")[0]


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
    assert answer.status_code == 422 and "This account is already connected." in answer.text
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


@pytest.fixture
def account(alice: Person) -> IntegrationAccount:
    """Hers, synced a moment ago, with a token."""
    alice.browser().post(CONNECT, data={**FORM, "baseUrl": "https://pms.example/v1"})
    (account,) = accounts()
    with work():
        account.token, account.next_at = "a-token", now() + timedelta(minutes=10)
    return account


def edited(**typed: str) -> dict[str, str]:
    """The form as a browser sends it, with this typed into it."""
    return {"clientId": "12345", "clientSecret": "", "name": "Sea Stays", "baseUrl": "https://pms.example/v1", **typed}


def secret_of(account: IntegrationAccount) -> str:
    db.session.rollback()
    return str(json.loads(account.credentials or "{}")["clientSecret"])


def test_the_form_of_an_account_shows_all_of_it_but_the_secrets(alice: Person, account: IntegrationAccount) -> None:
    browser, path = alice.browser(), f"/listings/accounts/{account.uuid}/edit"
    assert f'href="{path}"' in browser.get("/listings?provider=hostaway").text
    page = browser.get(path).text
    assert 'value="12345"' in page and 'value="Sea Stays"' in page and 'value="https://pms.example/v1"' in page
    secret = page.partition('id="f-clientSecret"')[2].partition(">")[0]
    assert 'value=""' in secret and "required" not in secret and "Leave empty to keep the current one" in page
    assert "so-very-secret" not in page and "a-token" not in page


def test_a_secret_is_replaced_and_a_sync_begins(alice: Person, account: IntegrationAccount) -> None:
    answer = alice.browser().post(f"/listings/accounts/{account.uuid}/edit", data=edited(clientSecret="another-secret"))
    assert (answer.status_code, answer.location) == (303, "/listings?provider=hostaway")
    assert (secret_of(account), account.token) == ("another-secret", None)
    page = alice.browser().get(answer.location).text
    assert "Starts in a moment" in page and "another-secret" not in page


def test_with_another_name_alone_nothing_is_synced(alice: Person, account: IntegrationAccount) -> None:
    alice.browser().post(f"/listings/accounts/{account.uuid}/edit", data=edited(name="Hill Stays"))
    assert (secret_of(account), account.name, account.token) == ("so-very-secret", "Hill Stays", "a-token")
    assert not integrations.is_syncing(account)


def test_an_address_is_changed_with_the_secret_only(alice: Person, account: IntegrationAccount) -> None:
    browser, path = alice.browser(), f"/listings/accounts/{account.uuid}/edit"
    answer = browser.post(path, data=edited(baseUrl="https://elsewhere.example/v1"))
    assert answer.status_code == 422
    assert 'id="f-clientSecret-wrong"' in answer.text and 'value="https://elsewhere.example/v1"' in answer.text
    assert "Nothing was changed" in answer.text and "so-very-secret" not in answer.text
    both = edited(baseUrl="https://elsewhere.example/v1", clientSecret="a-new-secret")
    assert browser.post(path, data={**both, "name": "x" * 121}).text.count("a-new-secret") == 0
    assert browser.post(path, data=both).status_code == 303
    assert (secret_of(account), account.host) == ("a-new-secret", "elsewhere.example")
    assert browser.post(path, data=edited(clientSecret="third", baseUrl="")).status_code == 303
    assert (secret_of(account), account.host) == ("third", "api.hostaway.com")


def test_a_secret_that_nobody_asks_for_any_more_is_removed(alice: Person) -> None:
    feed = {"url": "https://feed.example/a.json", "headerName": "X-Api-Key", "headerValue": "so-very-secret"}
    account = integrations.connect(alice.workspace, "generic", feed)
    browser, path = alice.browser(), f"/listings/accounts/{account.uuid}/edit"
    assert 'name="remove-headerValue"' in browser.get(path).text
    kept = {"name": "", "url": "https://feed.example/b.json", "headerName": "X-Api-Key", "headerValue": ""}
    assert browser.post(path, data=kept).status_code == 303
    assert json.loads(accounts()[0].credentials or "")["headerValue"] == "so-very-secret"
    moved = {"name": "", "url": "https://other.example/a.json", "headerName": "", "headerValue": ""}
    assert browser.post(path, data=moved).status_code == 422
    assert browser.post(path, data=moved | {"remove-headerValue": "1"}).status_code == 303
    assert json.loads(accounts()[0].credentials or "") == {"url": "https://other.example/a.json"}


def test_two_accounts_are_not_made_one(alice: Person, account: IntegrationAccount) -> None:
    browser = alice.browser()
    browser.post(CONNECT, data={**FORM, "clientId": "6"})
    other = accounts()[1]
    answer = browser.post(f"/listings/accounts/{other.uuid}/edit", data=edited(clientSecret="so-very-secret"))
    assert answer.status_code == 422 and "This account is already connected." in answer.text


def test_without_a_secret_no_account_is_connected_and_its_field_says_so(alice: Person) -> None:
    answer = alice.browser().post(CONNECT, data={**FORM, "clientSecret": " "})
    assert answer.status_code == 422
    wrong = answer.text.partition('id="f-clientSecret-wrong"')[2].partition("</p>")[0]
    assert "API key is missing." in wrong and accounts() == []


def test_removing_asks_first_and_says_what_goes(alice: Person) -> None:
    listing = stays.listed(alice.workspace, pictures=3)
    stays.copied(listing, jpeg())
    (account,) = accounts()
    browser, path = alice.browser(), f"/listings/accounts/{account.uuid}/remove"
    page = browser.get(path).text
    assert "Its 1 listing and the copy of 1 image are deleted here" in page and "Nothing changes at Hostaway" in page
    assert len(accounts()) == 1
    answer = browser.post(path)
    assert (answer.status_code, answer.location) == (303, "/listings?provider=hostaway")
    assert accounts() == [] and db.session.query(Listing).all() == []
    page = browser.get(answer.location).text
    assert "No account is connected" in page and "during the first sync" not in page
    assert browser.get(path).status_code == 404


def test_an_account_without_listings_is_removed_too(alice: Person) -> None:
    alice.browser().post(CONNECT, data=FORM)
    (account,) = accounts()
    assert "It has no listings here" in alice.browser().get(f"/listings/accounts/{account.uuid}/remove").text


def test_only_admins_connect_change_and_remove(bob: Person) -> None:
    listing = stays.listed(bob.workspace)
    browser = bob.browser()
    at = f"/listings/accounts/{stays.account_of(listing).uuid}"
    assert f"{at}/edit" not in browser.get("/listings?provider=hostaway").text
    for path in (CONNECT, f"{at}/edit", f"{at}/remove"):
        assert browser.get(path).status_code == 403
        assert browser.post(path, data=FORM).status_code == 403
    assert len(accounts()) == 1
