"""An account's sync as a job: how it stands, why it failed, and once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from portal import activity
from portal.activity.shapes import DONE_SINCE, SYNC
from portal.activity.syncs import BETWEEN_PAGES
from portal.db import now
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import NotFound
from portal.listings import integrations, sync
from portal.listings.models import IntegrationAccount
from portal.listings.sync import tasks
from portal.work import work
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import rows, stays

REFUSED = "Hostaway rejected these credentials."


def shown(person: Person, **asked: Any) -> list[tuple[str, str]]:
    """The jobs that are syncs, newest first, each with its state."""
    page = activity.page(person.workspace, kind=SYNC, **asked)
    return [(job.row.name, job.state) for job in page.items if isinstance(job.row, IntegrationAccount)]


def account_of(person: Person, name: str, **values: Any) -> IntegrationAccount:
    account = rows.account_of(person.workspace, name)
    with work():
        for column, value in values.items():
            setattr(account, column, value)
    return account


def failed(person: Person, name: str, error: str = REFUSED, **values: Any) -> IntegrationAccount:
    return account_of(person, name, error=error, failures=1, **values)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_sync_is_in_one_state(alice: Person) -> None:
    account_of(alice, "Due", next_at=now())
    account_of(alice, "Just asked", started_at=now(), next_at=now() + tasks.LEASE, syncing_until=now() + tasks.LEASE)
    account_of(alice, "Between pages", started_at=now(), next_at=now())
    account_of(alice, "Its worker died", started_at=now(), next_at=now() - BETWEEN_PAGES)
    account_of(alice, "A page did not come", started_at=now(), next_at=now() + timedelta(seconds=30), error="Away.")
    failed(alice, "Refused")
    failed(alice, "Refused, and asked for once more", next_at=now())
    account_of(alice, "Fine", synced_at=now())
    account_of(alice, "Fine two days ago")
    assert activity.counts(alice.workspace) == (3, 3, 1, 1)
    assert activity.has_failed(alice.workspace)
    found = dict(shown(alice))
    assert found == {
        "Due": "waiting",
        "Just asked": "running",
        "Between pages": "running",
        "Its worker died": "waiting",
        "A page did not come": "running",
        "Refused": "failed",
        "Refused, and asked for once more": "waiting",
        "Fine": "done",
        "Fine two days ago": "done",
    }
    for state in activity.STATES:
        assert dict(shown(alice, state=state)) == {name: one for name, one in found.items() if one == state}


def test_done_counts_a_day(alice: Person) -> None:
    account_of(alice, "Yesterday", synced_at=now() - DONE_SINCE)
    assert activity.counts(alice.workspace).done == 0


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_causes_are_errors_by_host_and_are_tried_again(alice: Person, charlie: Person) -> None:
    refused = [failed(alice, "One"), failed(alice, "Two")]
    away = failed(alice, "Three", "The server doesn’t answer.")
    found = activity.causes(alice.workspace)
    assert [cause[:4] for cause in found] == [
        (SYNC, REFUSED, "api.hostaway.com", 2),
        (SYNC, "The server doesn’t answer.", "api.hostaway.com", 1),
    ]
    activity.try_all_again(charlie.workspace, found[0])
    activity.try_all_again(charlie.workspace)
    assert {state for _, state in shown(alice)} == {"failed"}
    activity.try_all_again(alice.workspace, found[0])
    assert dict(shown(alice)) == {"One": "waiting", "Two": "waiting", "Three": "failed"}
    activity.try_again(activity.find(alice.workspace, str(away.uuid)))
    assert {state for _, state in shown(alice)} == {"waiting"}
    assert activity.causes(alice.workspace) == []
    assert all(account.next_at and account.next_at <= now() for account in (*refused, away))


def test_a_search_looks_at_name_host_and_provider(alice: Person) -> None:
    account_of(alice, "Alma by the sea")
    for search in ("alma", "hostaway", "API.hostaway.com"):
        assert len(shown(alice, search=search)) == 1, search
        assert shown(alice, search=f"{search} nowhere") == []


def test_charlie_sees_none_of_it(alice: Person, charlie: Person) -> None:
    account = failed(alice, "Alma by the sea")
    assert shown(charlie) == shown(charlie, search="alma") == shown(charlie, search=str(account.uuid)) == []
    assert activity.counts(charlie.workspace) == (0, 0, 0, 0)
    assert not activity.has_failed(charlie.workspace)
    assert activity.causes(charlie.workspace) == []
    with pytest.raises(NotFound):
        activity.find(charlie.workspace, str(account.uuid))


def test_a_sync_that_failed_is_done_once_it_works(alice: Person, pms: FakeHostaway) -> None:
    account = stays.connected(alice.workspace, pms, enabled=False)
    assert shown(alice) == [("Hostaway", "waiting")]
    pms.fail_next(1, 404, below="/v1/listings")
    sync.run()
    assert shown(alice) == [("Hostaway", "failed")]
    integrations.sync_now(account)
    sync.run()
    assert shown(alice) == [("Hostaway", "done")]
    assert activity.counts(alice.workspace) == (0, 0, 0, 1)
