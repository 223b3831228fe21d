"""Removing a listing or an account: its records disappear, its copies are hidden immediately and deleted soon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal import orphans
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply, PmsRequest
from portal.errors import NotFound
from portal.garbage import Garbage
from portal.infra import storage
from portal.listings import copies, integrations, removal
from portal.listings.copies import selection
from portal.listings.models import WITH_REMOVED, IntegrationAccount, Listing, SyncPage
from portal.work import work
from tests import factories
from tests.buckets import collect_orphans
from tests.conftest import on_both, on_each
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from tests.outside import Reply, outside

AT_ONCE = timedelta(seconds=-60)


def left() -> tuple[int, int]:
    """The numbers of accounts and listings, hidden ones included."""
    db.session.rollback()
    tables = IntegrationAccount, Listing
    counts = (select(func.count(table.id)).execution_options(**WITH_REMOVED) for table in tables)
    accounts, listings = (db.session.scalar(count) or 0 for count in counts)
    return accounts, listings


@on_each
def test_a_removed_account_takes_its_listings_and_their_objects_with_it(
    account: IntegrationAccount, alice: Person, charlie: Person, pms: FakeHostaway
) -> None:
    his = stays.synced(stays.connected(charlie.workspace, pms))
    stays.synced(account)
    prefix = f"{alice.workspace.uuid}/"
    hers = {key for key in stays.objects() if key.startswith(prefix)}
    assert len(hers) == 15
    integrations.sync_now(account)
    removal.remove_account(account)
    client = alice.app.test_client()
    assert {client.get(f"/cdn/{key}").status_code for key in hers} == {404}, "hidden before the objects are gone"
    assert {listing.account_id for listing in stays.listings()} == {his.id}
    assert removal.clear_leftovers() == 3
    stays.assert_copied(pms, charlie.workspace)
    assert left() == (1, 3)
    assert len(stays.images()) == 15
    assert db.session.scalar(select(func.count()).select_from(SyncPage)) == 0
    db.session.rollback()
    with pytest.raises(NotFound):
        removal.remove_account(account)


@on_each
def test_an_account_can_be_connected_again_right_after_its_removal(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    old = set(stays.objects())
    removal.remove_account(account)
    stays.synced(stays.connected(alice.workspace, pms))
    assert len(stays.objects()) == 30
    assert removal.clear_leftovers() == 3
    stays.assert_copied(pms, alice.workspace)
    assert not old & set(stays.objects())
    assert left() == (1, 3)


@on_each
def test_a_removal_updates_no_listing_and_no_picture(account: IntegrationAccount) -> None:
    stays.synced(account)
    with stays.statements() as asked:
        removal.remove_account(account)
    assert stays.writes(asked) == []


@on_each
def test_pending_pictures_of_a_removed_account_delay_no_other(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "ACCOUNTS", 1)
    monkeypatch.setattr(selection, "PER_ACCOUNT", 3)
    stays.synced_only(account)
    removal.remove_account(account)
    stays.synced(stays.connected(alice.workspace, pms))
    assert pms.count("/pictures/") == 12, "none twice"
    removal.clear_leftovers()
    stays.assert_copied(pms, alice.workspace)


@on_each
def test_listings_removed_from_the_pms_are_deleted_like_those_of_a_removed_account(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the background: a sync that deletes thousands would block everybody. Some pictures still wait."""
    monkeypatch.setattr(selection, "PER_ACCOUNT", 3)
    monkeypatch.setattr(removal, "BATCH", 2)
    stays.synced(account)
    stays.all_at_once()
    pms.catalogue.listings.clear()
    stays.synced_only(account)
    pms.catalogue.add(4)
    with stays.statements() as asked:
        stays.synced_only(account)
    assert not [statement for statement in asked if statement.startswith("DELETE FROM listing")]
    assert len(stays.listings()) == 1, "the others are hidden already"
    asked_before = pms.count("/pictures/")
    copies.run()
    assert pms.count("/pictures/") == asked_before + 4
    assert left() == (2, 4)
    assert removal.clear_leftovers() == 3
    assert left() == (1, 1)
    stays.assert_copied(pms, alice.workspace)


def test_copies_of_a_removed_account_are_deleted_once_the_bucket_is_back(
    account: IntegrationAccount, work_off: Callable[[], int]
) -> None:
    stays.synced(account)
    with bucket_behind_a_proxy() as front:
        removal.remove_account(account)
        front.answer = lambda asked: 503 if asked.method == "POST" else None
        removal.clear_leftovers()
        assert (len(stays.objects()), left()) == (15, (0, 0))
    with work():
        db.session.execute(update(Garbage).values(next_at=now()))
    orphans.enqueue_missing()
    work_off()
    assert stays.objects() == {}
    orphans.enqueue_missing()
    removal.enqueue_missing()
    assert work_off() == 0, "nothing is left to be done"


def test_the_number_of_statements_of_a_removal_does_not_grow_with_its_pictures(alice: Person) -> None:
    counts = []
    for pictures in (2, 60):
        account = stays.connected(alice.workspace, stays.NOWHERE)
        stays.told(account, count=2, pictures=pictures)
        removal.remove_account(account)
        with stays.statements() as asked:
            removal.clear_leftovers()
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_run_out_of_time_enqueues_its_successor(
    account: IntegrationAccount, work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports run in between: they wait in the same queue."""
    monkeypatch.setattr(removal, "CLEAR_FOR_S", 0)
    monkeypatch.setattr(removal, "CLEAR_BATCH", 1)
    stays.synced(account)
    removal.remove_account(account)
    removal.clear_leftovers()
    assert left() == (1, 2)
    work_off()
    assert left() == (0, 0)


@on_both
def test_two_workers_can_clean_up_concurrently(account: IntegrationAccount, at_once: Callable[..., list[Any]]) -> None:
    stays.synced(account)
    removal.remove_account(account)
    outcomes = at_once(removal.clear_leftovers, (), (), ())
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    assert (stays.objects(), left()) == ({}, (0, 0))


@on_both
def test_pictures_in_flight_during_the_removal_of_their_account_leave_nothing(
    account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    def remove() -> None:
        try:
            stays.until_busy()
            removal.remove_account(db.session.get_one(IntegrationAccount, account_id))
            removal.clear_leftovers()
        finally:
            host.closed.set()

    account_id = account.id
    with outside(lambda _: Reply(body=factories.jpeg(64, 48), after_s=60)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copies.run,), (remove,)) == [3, None]
    assert (stays.images(), stays.objects()) == ([], {})


@on_both
def test_an_account_removed_during_its_sync_stays_removed(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    answer, account_id = pms.answer, account.id

    def remove(asked: PmsRequest) -> PmsReply:
        with alice.app.app_context():
            removal.remove_account(db.session.get_one(IntegrationAccount, account_id))
        return answer(asked)

    pms.answer = remove  # type: ignore[method-assign]
    stays.synced(account)
    assert stays.listings() == []
    removal.clear_leftovers()
    assert left() == (0, 0)


def test_only_the_remains_of_a_crashed_copy_are_collected(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """The object was stored, and the worker killed before the commit."""
    stays.synced(account)
    orphan = f"{alice.workspace.uuid}/{stays.listings()[0].uuid}/gallery/7_{'0' * 32}.jpg"
    storage.cdn.put(orphan, b"x", "image/jpeg")
    assert orphans.find() == [], "it is too young"
    assert collect_orphans() == [orphan]
    stays.assert_copied(pms, alice.workspace)
