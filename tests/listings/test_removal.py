"""A listing or an account goes: its records with it, its copies dark at once and deleted soon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from portal import owners, storage
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import Asked, Said
from portal.errors import NotFound
from portal.listings import copying, integrations, removal
from portal.listings.models import IntegrationAccount, Leftover, SyncPage
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from tests.outside import Reply, outside

AT_ONCE = timedelta(seconds=-60)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a15_a_removed_account_takes_its_listings_and_their_objects_with_it(
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
    assert {client.get(f"/cdn/{key}").status_code for key in hers} == {404}, "dark before the objects are gone"
    assert {listing.account_id for listing in stays.listings()} == {his.id}
    assert removal.clear_leftovers() == 15
    stays.assert_copied(pms, charlie.workspace)
    for model in (Leftover, SyncPage):
        assert db.session.scalar(select(func.count()).select_from(model)) == 0
    db.session.rollback()
    with pytest.raises(NotFound):
        removal.remove_account(account)


def test_a15_leftovers_are_rung_for_until_the_bucket_lets_go(
    account: IntegrationAccount, work_off: Callable[[], int]
) -> None:
    stays.synced(account)
    with bucket_behind_a_proxy() as front:
        removal.remove_account(account)
        front.answer = lambda asked: 503 if asked.method == "DELETE" else None
        with pytest.raises(Exception, match="did not do what it was asked"):
            removal.clear_leftovers()
        db.session.rollback()
        assert len(stays.objects()) == 15
    work_off()
    assert stays.objects() == {}
    removal.ring_again()
    assert work_off() == 0, "nothing is left to ring for"


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a15_two_workers_clear_the_same_leftovers(
    account: IntegrationAccount, at_once: Callable[..., list[Any]]
) -> None:
    stays.synced(account)
    removal.remove_account(account)
    outcomes = at_once(removal.clear_leftovers, (), (), ())
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    assert stays.objects() == {}
    assert db.session.scalar(select(func.count()).select_from(Leftover)) == 0


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a15_pictures_in_flight_when_their_account_goes_leave_nothing(
    account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    def remove() -> None:
        stays.until_busy()
        removal.remove_account(db.session.get_one(IntegrationAccount, account_id))
        removal.clear_leftovers()

    account_id = account.id
    with outside(lambda _: Reply(body=factories.jpeg(64, 48), after_s=1.5)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copying.run,), (remove,)) == [3, None]
    assert (stays.images(), stays.objects()) == ([], {})


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a15_an_account_that_goes_in_the_middle_of_its_sync_stays_gone(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    answer, account_id = pms.answer, account.id

    def remove(asked: Asked) -> Said:
        with alice.app.app_context():
            removal.remove_account(db.session.get_one(IntegrationAccount, account_id))
        return answer(asked)

    pms.answer = remove  # type: ignore[method-assign]
    stays.synced(account)
    assert stays.listings() == []
    assert db.session.scalar(select(func.count()).select_from(IntegrationAccount)) == 0


def test_what_a_crash_left_of_a_copy_is_collected_and_nothing_else(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """A15, J2: put, and killed before the commit."""
    stays.synced(account)
    orphan = f"{alice.workspace.uuid}/{stays.listings()[0].uuid}/gallery/7_{'0' * 32}.jpg"
    storage.cdn.put(orphan, b"x", "image/jpeg")
    assert owners.collect_orphans() == [], "it is too young"
    assert owners.collect_orphans(AT_ONCE) == [orphan]
    stays.assert_copied(pms, alice.workspace)
