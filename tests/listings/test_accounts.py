"""Changing an account: new credentials, address or name; its listings and copies stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError

from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import Conflict, Invalid, NotFound
from portal.listings import catalogue, integrations, removal, sync
from portal.listings.models import IntegrationAccount, Listing
from portal.listings.sync import tasks
from portal.work import work
from tests.conftest import on_both, on_each
from tests.factories import Person
from tests.listings import stays

FEED = {"url": "https://feed.example/a.json", "headerName": "X-Api-Key", "headerValue": "secret"}


def kept(account: IntegrationAccount) -> dict[str, str]:
    """Its credentials as they are stored."""
    db.session.rollback()
    found: dict[str, str] = json.loads(account.credentials or "{}")
    return found


def details(refused: pytest.ExceptionInfo[Invalid]) -> Any:
    assert refused.value.code == "fields"
    return refused.value.details


@on_each
def test_with_valid_credentials_again_it_syncs_immediately_and_keeps_its_copies(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    before, there, downloads = [one.uuid for one in stays.listings()], stays.objects(), pms.count("/pictures/")
    integrations.change(account, credentials={"clientSecret": "expired"})
    sync.run()
    db.session.rollback()
    assert (account.error, account.failures) == ("Hostaway rejected these credentials.", 1)
    integrations.change(account, credentials={"clientSecret": pms.credentials["clientSecret"]})
    assert (account.error, account.failures, account.token, account.started_at) == (None, 0, None, None)
    assert integrations.is_syncing(account)
    pms.catalogue.listings[2].name = "New name"
    sync.run()
    db.session.rollback()
    assert (account.error, stays.listings()[1].name) == (None, "New name")
    assert ([one.uuid for one in stays.listings()], stays.objects()) == (before, there)
    assert pms.count("/pictures/") == downloads
    assert kept(account) == pms.credentials, "fields that are not given stay"


def test_a_new_name_triggers_no_sync(account: IntegrationAccount) -> None:
    stays.synced(account)
    token, next_at = account.token, account.next_at
    integrations.change(account, name=" Sea Stays ")
    assert (account.name, account.token, account.next_at) == ("Sea Stays", token, next_at)
    integrations.change(account, name=" ")
    assert account.name == "Hostaway"
    for wrong in ("x" * 121, "a\0b"):
        with pytest.raises(Invalid):
            integrations.change(account, name=wrong)


def test_an_empty_change_changes_nothing(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    integrations.change(account)
    assert account.token and not integrations.is_syncing(account)
    assert (account.name, kept(account)) == ("Hostaway", pms.credentials)


@on_each
@pytest.mark.parametrize("is_under_way", [False, True], ids=["before", "after the next sync began"])
def test_answers_to_the_old_credentials_are_discarded(
    account: IntegrationAccount, pms: FakeHostaway, is_under_way: bool
) -> None:
    (task,) = tasks._claim(1)
    found = tasks._perform(task)
    assert found.page
    integrations.change(account, credentials=pms.credentials)
    again = tasks._claim(1) if is_under_way else []
    tasks._record([(task, found)])
    db.session.rollback()
    assert (stays.listings(), account.pages) == ([], 0)
    tasks._record([(one, tasks._perform(one)) for one in again])
    db.session.rollback()
    assert bool(account.token) == is_under_way


def test_a_token_of_the_old_credentials_is_not_kept(alice: Person, pms: FakeHostaway) -> None:
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
    (task,) = tasks._claim(1)
    found = tasks._perform(task)
    assert found.token
    integrations.change(account, credentials=pms.credentials)
    tasks._record([(task, found)])
    assert account.token is None


@on_each
def test_credentials_of_another_pms_account_replace_the_listings(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    with FakeHostaway(listings=5) as other:
        other.is_limited = False
        for number in (1, 2, 3):
            other.catalogue.remove(number)
        integrations.change(account, credentials=other.credentials)
        assert account.host == other.url.removeprefix("http://")
        for _ in range(2):
            stays.synced(account)
        removal.clear_leftovers()
        assert [one.external_id for one in stays.listings()] == ["4", "5"]
        stays.assert_copied(other, alice.workspace)


def test_the_secret_must_be_typed_again_for_another_address(alice: Person) -> None:
    account = integrations.connect(alice.workspace, "generic", FEED)
    for url in ("https://elsewhere.example/a.json", "http://feed.example/a.json", "https://feed.example:444/a.json"):
        with pytest.raises(Invalid) as refused:
            integrations.change(account, name="Mine", credentials={"url": url})
        assert "port" in str(refused.value) or list(details(refused)) == ["headerValue"], url
        assert (kept(account), account.name, account.host) == (FEED, "JSON feed", "feed.example")
    integrations.change(account, credentials={"url": "https://FEED.example/b.json"})
    assert kept(account)["headerValue"] == "secret", "the same origin"
    integrations.change(account, credentials={"url": "https://elsewhere.example/", "headerValue": "new"})
    assert (kept(account)["headerValue"], account.host) == ("new", "elsewhere.example")
    integrations.change(account, credentials={"url": "https://third.example/", "headerName": "", "headerValue": ""})
    assert kept(account) == {"url": "https://third.example/"}


def test_a_change_that_cannot_connect_is_not_saved(account: IntegrationAccount, pms: FakeHostaway) -> None:
    token = account.token
    for given in (
        {"clientSecret": " "},
        {"clientId": ""},
        {"password": "x"},
        {"baseUrl": "ftp://x.example"},
        {"clientSecret": "a\nb"},
    ):
        with pytest.raises(Invalid) as refused:
            integrations.change(account, name="Sea Stays", credentials=given)
        assert [*given] == [*details(refused)], given
        assert (kept(account), account.token, account.name) == (pms.credentials, token, "Hostaway"), given


@on_both
def test_an_account_cannot_be_changed_into_an_existing_one(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    other = integrations.connect(alice.workspace, "hostaway", {**pms.credentials, "clientId": "6"})
    with pytest.raises(Conflict):
        integrations.change(other, credentials={"clientId": pms.credentials["clientId"]})
    assert kept(other)["clientId"] == "6"
    integrations.change(other, credentials=kept(other))


def test_unreadable_credentials_must_be_typed_completely(account: IntegrationAccount, pms: FakeHostaway) -> None:
    with work():
        account.credentials, account.next_at = None, now()
    sync.run()
    db.session.rollback()
    assert account.error and "edit the account and enter them again" in account.error
    assert integrations.settings_of(account) == {}
    with pytest.raises(Invalid) as refused:
        integrations.change(account, credentials={"clientSecret": "x"})
    assert list(details(refused)) == ["clientId"]
    integrations.change(account, credentials=pms.credentials)
    sync.run()
    assert len(stays.listings()) == 3


def test_an_account_removed_meanwhile_is_not_found(app: Flask, account: IntegrationAccount) -> None:
    assert account.definition
    with app.app_context():  # another process does
        removal.remove_account(db.session.get_one(IntegrationAccount, account.id))
    with pytest.raises(NotFound):
        integrations.change(account, name="Sea Stays")


def test_settings_are_shown_as_typed_without_the_secrets(account: IntegrationAccount, pms: FakeHostaway) -> None:
    assert integrations.settings_of(account) == {"clientId": "12345", "baseUrl": pms.base_url}


def test_secrets_are_not_read_where_they_are_not_needed(alice: Person, account: IntegrationAccount) -> None:
    stays.synced(account)
    db.session.rollback()
    with stays.statements() as asked:
        (found,) = integrations.all_accounts(alice.workspace)
        integrations.find_account(alice.workspace, str(found.uuid))
        for listing in catalogue.page(alice.workspace).items:
            assert catalogue.find(alice.workspace, str(listing.uuid)).account.definition.provider == "HOSTAWAY"
    assert asked
    assert not [one for one in asked if "credentials" in one or "integration_account.token" in one]


def test_a_listing_is_read_without_its_account(account: IntegrationAccount) -> None:
    stays.synced_only(account)
    db.session.expunge_all()
    with stays.statements() as asked:
        listing = db.session.scalars(select(Listing)).first()
    assert not [one for one in asked if "JOIN" in one]
    assert listing
    with pytest.raises(InvalidRequestError):
        _ = listing.account
