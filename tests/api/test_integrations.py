"""/api/v1/integration-definition: the switch, the accounts and their syncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from portal.listings import integrations, removal, sync
from portal.listings.models import IntegrationAccount, IntegrationDefinition
from portal.listings.providers.normalize import DISAGREES
from tests.factories import Person
from tests.listings import stays

PATH = "/api/v1/integration-definition"
SWITCH, ACCOUNTS = f"{PATH}/hostaway/images-cdn", f"{PATH}/hostaway/accounts"
CREDENTIALS = {"clientId": "1", "clientSecret": "a secret"}
FIELDS = [
    "id",
    "name",
    "provider",
    "createdAt",
    "lastSyncedAt",
    "nextSyncAt",
    "syncing",
    "progress",
    "error",
    "note",
]


def connect(person: Person, credentials: Any = None, **more: Any) -> Any:
    headers = more.pop("headers", {})
    return person.api("POST", ACCOUNTS, json={"credentials": credentials or CREDENTIALS, **more}, headers=headers)


def enqueued() -> list[str]:
    """Return the job ids in the queue of syncs."""
    return list(jobs.queue(jobs.SYNC).get_job_ids())


def test_a_new_workspace_has_no_definitions(alice: Person) -> None:
    response = alice.api("GET", PATH)
    assert (response.status_code, response.json) == (200, [])


def test_definitions_are_listed_as_the_switch_returns_them(alice: Person, charlie: Person) -> None:
    switched = alice.api("PATCH", SWITCH, json={"enableImagesCDN": True}).json
    assert alice.api("GET", PATH).json == [switched]
    assert charlie.api("GET", PATH).json == []


def test_connecting_an_account_enqueues_its_sync(alice: Person) -> None:
    response = connect(alice, name="Alma by the sea")
    assert response.status_code == 201
    account = response.json
    assert list(account) == FIELDS
    assert response.headers["Location"] == f"{PATH}/HOSTAWAY/accounts/{account['id']}"
    assert account == {
        "id": account["id"],
        "name": "Alma by the sea",
        "provider": "HOSTAWAY",
        "createdAt": account["createdAt"],
        "lastSyncedAt": None,
        "nextSyncAt": None,
        "syncing": True,
        "progress": {"pages": 0, "listings": 0, "total": None},
        "error": None,
        "note": None,
    }
    assert enqueued() == [jobs.sync_listings().id]
    assert alice.api("GET", response.headers["Location"]).json == account
    assert alice.api("GET", ACCOUNTS).json == [account]
    (definition,) = alice.api("GET", PATH).json
    assert (definition["provider"], definition["enableImagesCDN"]) == ("HOSTAWAY", False)


def test_an_unnamed_account_is_named_after_its_provider(alice: Person, subtests: pytest.Subtests) -> None:
    for number, more in enumerate(({}, {"name": ""}, {"name": "  \t "})):
        with subtests.test(more=more):
            assert connect(alice, {**CREDENTIALS, "clientId": str(number)}, **more).json["name"] == "Hostaway"


def test_a_sync_can_be_followed_from_start_to_end(alice: Person, pms: FakeHostaway) -> None:
    at = f"{ACCOUNTS}/{connect(alice, pms.credentials).json['id']}"
    pms.fail_next(1, 500, below="/v1/listings")
    sync.run()
    under_way = alice.api("GET", at).json
    assert (under_way["syncing"], under_way["nextSyncAt"], under_way["lastSyncedAt"]) == (True, None, None)
    assert under_way["error"] == "The server answered 500."
    stays.all_at_once()
    sync.run()
    done = alice.api("GET", at).json
    assert (done["syncing"], done["error"]) == (False, None)
    assert done["progress"] == {"pages": 1, "listings": 3, "total": 3}
    assert done["nextSyncAt"] > done["lastSyncedAt"] > done["createdAt"]


def test_a_sync_on_demand_starts_immediately(alice: Person, pms: FakeHostaway) -> None:
    at = f"{ACCOUNTS}/{connect(alice, pms.credentials).json['id']}"
    sync.run()
    jobs.connection().flushall()
    response = alice.api("POST", f"{at}/sync")
    assert response.status_code == 202
    assert list(response.json) == FIELDS
    assert (response.json["syncing"], response.json["nextSyncAt"]) == (True, None)
    assert enqueued() == [jobs.sync_listings().id]
    sync.run()
    assert alice.api("GET", at).json["syncing"] is False
    assert pms.count("/v1/listings") == 2


def test_an_oddity_found_by_a_sync_is_noted(alice: Person, pms: FakeHostaway) -> None:
    def disagree(listing: dict[str, Any]) -> dict[str, Any]:
        return {**listing, "listingImages": listing["listingImages"][::-1]}

    pms.twist = disagree
    at = f"{ACCOUNTS}/{connect(alice, pms.credentials).json['id']}"
    sync.run()
    assert alice.api("GET", at).json["note"] == DISAGREES


def test_rejected_credentials_are_reported_after_the_first_sync(alice: Person, pms: FakeHostaway) -> None:
    at = f"{ACCOUNTS}/{connect(alice, {**pms.credentials, 'clientSecret': 'wrong'}).json['id']}"
    sync.run()
    account = alice.api("GET", at).json
    assert account["error"] == "Hostaway rejected these credentials."
    assert account["nextSyncAt"]


def test_replacing_credentials_starts_a_sync(alice: Person, pms: FakeHostaway) -> None:
    at = f"{ACCOUNTS}/{connect(alice, {**pms.credentials, 'clientSecret': 'wrong'}).json['id']}"
    sync.run()
    before = alice.api("GET", at).json
    assert before["error"] == "Hostaway rejected these credentials."
    jobs.connection().flushall()
    secret = pms.credentials["clientSecret"]
    response = alice.api("PATCH", at, json={"name": "Sea Stays", "credentials": {"clientSecret": secret}})
    assert response.status_code == 200
    changed = {"name": "Sea Stays", "error": None, "syncing": True, "nextSyncAt": None}
    assert response.json == {**before, **changed}
    assert enqueued() == [jobs.sync_listings().id]
    sync.run()
    after = alice.api("GET", at).json
    assert (after["error"], after["progress"]["listings"]) == (None, 3)
    assert alice.api("PATCH", at, json={}).json == after


UNUSABLE = [
    ({"credentials": {"clientSecret": ""}}, {"clientSecret": "API key is missing."}),
    ({"credentials": {"pin": "1"}}, {"pin": "Hostaway has no such field."}),
    (
        {"credentials": {"baseUrl": "https://elsewhere.example/v1"}},
        {"clientSecret": "Enter it again: the address has changed."},
    ),
    ({"name": "x" * 121}, {"name": "At most 120 characters."}),
    ({"credentials": {"clientSecret": 1}}, None),
    ({"credentials": "a secret"}, None),
    ({"name": 1}, None),
]


def test_a_change_to_invalid_settings_is_refused(alice: Person, subtests: pytest.Subtests) -> None:
    at = f"{ACCOUNTS}/{connect(alice).json['id']}"
    before = alice.api("GET", at).json
    for body, wrong in UNUSABLE:
        with subtests.test(body=body, wrong=wrong):
            response = alice.api("PATCH", at, json=body)
            assert (response.status_code, response.json["code"]) == (422, "fields")
            assert wrong is None or response.json["details"] == wrong
            assert alice.api("GET", at).json == before


def test_an_account_cannot_take_anothers_credentials(alice: Person) -> None:
    connect(alice)
    at = f"{ACCOUNTS}/{connect(alice, {**CREDENTIALS, 'clientId': '2'}).json['id']}"
    response = alice.api("PATCH", at, json={"credentials": CREDENTIALS})
    assert (response.status_code, response.json["code"]) == (409, "connected_already")


def test_an_account_without_a_secret_is_refused_naming_the_field(alice: Person, subtests: pytest.Subtests) -> None:
    for blank in ({}, {"clientSecret": ""}, {"clientSecret": " "}):
        with subtests.test(blank=blank):
            response = alice.api("POST", ACCOUNTS, json={"credentials": {"clientId": "1", **blank}})
            assert (response.status_code, response.json["code"]) == (422, "fields")
            assert response.json["details"] == {"clientSecret": "API key is missing."}
            assert alice.api("GET", ACCOUNTS).json == []


def test_removing_an_account_removes_its_listings_and_images(alice: Person, pms: FakeHostaway) -> None:
    alice.api("PATCH", f"{PATH}/HOSTAWAY/images-cdn", json={"enableImagesCDN": True})
    at = f"{ACCOUNTS}/{connect(alice, pms.credentials).json['id']}"
    sync.run()
    response = alice.api("DELETE", at)
    assert (response.status_code, response.data) == (204, b"")
    assert alice.api("GET", at).status_code == alice.api("DELETE", at).status_code == 404
    assert alice.api("GET", ACCOUNTS).json == []
    assert stays.listings() == []
    removal.clear_leftovers()
    assert stays.images() == []
    (definition,) = alice.api("GET", PATH).json
    assert definition["enableImagesCDN"], "the switch is the provider's, not the account's"


def test_accounts_are_listed_oldest_first(alice: Person, charlie: Person) -> None:
    for number in range(3):
        connect(alice, {**CREDENTIALS, "clientId": str(number)}, name=f"No. {number}")
    connect(charlie, {**CREDENTIALS, "clientId": "0"}, name="His")
    assert [account["name"] for account in alice.api("GET", ACCOUNTS).json] == ["No. 0", "No. 1", "No. 2"]
    assert [account["name"] for account in charlie.api("GET", ACCOUNTS).json] == ["His"]


def test_the_same_account_cannot_be_connected_twice(alice: Person, charlie: Person) -> None:
    connect(alice)
    response = connect(alice, name="Again")
    assert (response.status_code, response.json["code"]) == (409, "connected_already")
    assert connect(charlie).status_code == 201, "his workspace has an account of its own"


def test_a_provider_has_at_most_fifty_accounts(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert integrations.MAX_ACCOUNTS == 50
    monkeypatch.setattr(integrations, "MAX_ACCOUNTS", 3)
    codes = [connect(alice, {**CREDENTIALS, "clientId": str(number)}).status_code for number in range(4)]
    assert codes == [201] * 3 + [409]


def test_the_switch_belongs_to_one_workspace(alice: Person, charlie: Person) -> None:
    alice.api("PATCH", SWITCH, json={"enableImagesCDN": True})
    charlie.api("PATCH", SWITCH, json={"enableImagesCDN": False})
    assert [each["enableImagesCDN"] for each in alice.api("GET", PATH).json] == [True]
    assert [each["enableImagesCDN"] for each in charlie.api("GET", PATH).json] == [False]


def test_concurrent_first_switches_create_one_definition(alice: Person, at_once: Callable[..., list[Any]]) -> None:
    def switch(number: int) -> int:
        return alice.api("PATCH", SWITCH, json={"enableImagesCDN": bool(number % 2)}).status_code

    assert at_once(switch, *[(number,) for number in range(10)]) == [200] * 10
    assert db.session.query(IntegrationDefinition).count() == 1


def test_an_unknown_provider_is_a_404_everywhere(alice: Person, subtests: pytest.Subtests) -> None:
    mine = connect(alice).json["id"]
    for provider in ("airbnb", "host", "hostaway ", "%00", "%ED%A0%80", "ſ"):
        with subtests.test(provider=provider):
            at = f"{PATH}/{provider}"
            answers = [
                alice.api("PATCH", f"{at}/images-cdn", json={"enableImagesCDN": True}),
                alice.api("GET", f"{at}/accounts"),
                alice.api("POST", f"{at}/accounts", json={"credentials": CREDENTIALS}),
                alice.api("GET", f"{at}/accounts/{mine}"),
                alice.api("POST", f"{at}/accounts/{mine}/sync"),
                alice.api("PATCH", f"{at}/accounts/{mine}", json={"name": "Mine"}),
                alice.api("DELETE", f"{at}/accounts/{mine}"),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert len(alice.api("GET", ACCOUNTS).json) == 1


def test_an_account_is_found_under_its_own_provider_only(alice: Person) -> None:
    mine = connect(alice).json["id"]
    for provider in ("GUESTY", "GENERIC"):
        assert alice.api("GET", f"{PATH}/{provider}/accounts/{mine}").status_code == 404
        assert alice.api("DELETE", f"{PATH}/{provider}/accounts/{mine}").status_code == 404
    assert alice.api("GET", f"{PATH}/HostAway/accounts/{mine}").status_code == 200


def test_each_write_takes_an_idempotency_key(alice: Person, pms: FakeHostaway) -> None:
    key = {"Idempotency-Key": "6d1c"}
    made = [connect(alice, pms.credentials, headers=key) for _ in range(2)]
    assert made[0].data == made[1].data
    assert made[1].headers["Location"] == made[0].headers["Location"]
    at = f"{ACCOUNTS}/{made[0].json['id']}"
    for method, path, body, status in (
        ("PATCH", SWITCH, {"enableImagesCDN": True}, 200),
        ("POST", f"{at}/sync", None, 202),
        ("PATCH", at, {"credentials": pms.credentials}, 200),
        ("DELETE", at, None, 204),
    ):
        more = {"json": body} if body else {}
        answers = [alice.api(method, path, headers={"Idempotency-Key": method + path}, **more) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [status, status], path
        assert answers[0].data == answers[1].data
        assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, True]
    other = alice.api("PATCH", SWITCH, json={"enableImagesCDN": False}, headers=key)
    assert (other.status_code, list(other.json)) == (422, ["code", "message", "details"])
    assert db.session.query(IntegrationAccount).all() == []
