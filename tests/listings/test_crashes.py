"""SIGKILL at every step of a sync page, a copy, the switch and a removal: nothing lost, duplicated or left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text, update

from portal import config
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import storage
from portal.listings import copies, integrations, removal, sync
from portal.listings.models import IntegrationAccount, IntegrationDefinition, Listing, ListingImage, SyncPage
from portal.work import work
from tests.buckets import collect_orphans
from tests.conftest import KILLED
from tests.crashes import Steps, dies_at
from tests.factories import Person
from tests.listings import stays
from tests.processes import until

SIZE = 1, 2  # one listing of two pictures
AT_ONCE = timedelta(seconds=-60)
OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
)

pytestmark = pytest.mark.parametrize("database", KILLED, indirect=True)


def remove(account_id: int) -> None:
    removal.remove_account(db.session.get_one(IntegrationAccount, account_id))


def switch(workspace_id: int, enabled: bool) -> None:
    integrations.switch_image_cdn(db.session.get_one(Workspace, workspace_id), "hostaway", enabled=enabled)


def killed_at_each_step(steps: Steps, action: Callable[..., Any], prepare: Callable[[], list[Any]]) -> Iterator[bool]:
    """Prepare, kill `action`, and let the test inspect the result, until it survives; yields whether it did.

    `prepare` returns the arguments of the action."""
    deaths = 0
    for step in steps:
        args = prepare()
        lived = dies_at(step, config.settings(), action, *args)
        until_rolled_back()
        stays.let_leases_run_out()
        yield lived
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=8)


def until_rolled_back() -> None:
    """Wait until PostgreSQL has rolled back the dead transaction: while it holds its locks, others skip its rows."""

    def is_over() -> bool:
        db.session.rollback()  # the view of other sessions is read once per transaction
        return not db.session.scalar(OTHERS)

    if db.engine.dialect.name == "postgresql":
        until(is_over)


def assert_whole(pms: FakeHostaway, workspace: Workspace) -> None:
    """Assert that all is copied and, after the sweep, no object is left over: some may arrive a little after the
    kill."""
    end = time.monotonic() + 30
    while True:
        collect_orphans()
        db.session.rollback()
        try:
            return stays.assert_copied(pms, workspace)
        except AssertionError:
            if time.monotonic() > end:
                raise


def assert_nothing_left() -> None:
    db.session.rollback()
    assert (stays.images(), stays.objects()) == ([], {})
    for table in (IntegrationAccount, Listing):
        assert db.session.scalar(select(func.count()).select_from(table)) == 0


def test_a_first_sync_killed_at_any_step_resumes(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, steps: Steps
) -> None:
    def prepare() -> list[Any]:
        with work():
            db.session.execute(delete(Listing))
        storage.cdn.delete(*stays.objects())
        integrations.sync_now(account)
        return []

    for _ in killed_at_each_step(steps, sync.run, prepare):
        stays.synced(account)
        assert (account.error, account.started_at) == (None, None)
        assert db.session.scalar(select(func.count()).select_from(SyncPage)) == 0
        assert_whole(pms, alice.workspace)


def test_a_sync_of_changes_killed_at_any_step_resumes(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, steps: Steps
) -> None:
    def prepare() -> list[Any]:
        pms.catalogue.change_url(1, 0)
        pms.catalogue.listings[1].pictures.reverse()
        integrations.sync_now(account)
        return []

    pms.catalogue.add(1)
    stays.synced(account)
    pms.catalogue.remove(2)
    stays.synced(account)
    assert [listing.missing_since is not None for listing in stays.listings()] == [False, True]
    for _ in killed_at_each_step(steps, sync.run, prepare):
        stays.synced(account)
        removal.clear_leftovers()
        assert_whole(pms, alice.workspace)


def test_a_copy_killed_at_any_step_is_made_by_the_next_run(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, steps: Steps
) -> None:
    def prepare() -> list[Any]:
        keys = [image.key for image in stays.images() if image.key]
        with work() as w:
            w.drop(storage.cdn, *keys)
            db.session.execute(update(ListingImage).values(key=None, next_at=now(), attempts=0, image_hash=None))
        return []

    stays.synced(account)
    for _ in killed_at_each_step(steps, copies.run, prepare):
        copies.run()
        assert_whole(pms, alice.workspace)


def test_an_account_whose_removal_is_killed_at_any_step_is_complete_or_gone(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, work_off: Callable[[], int], steps: Steps
) -> None:
    def prepare() -> list[Any]:
        mine = db.session.scalar(select(IntegrationAccount)) or stays.connected(alice.workspace, pms)
        stays.synced(mine)
        return [mine.id]

    for lived in killed_at_each_step(steps, remove, prepare):
        if db.session.scalar(select(IntegrationAccount)):
            assert not lived
            assert_whole(pms, alice.workspace)
            continue
        removal.enqueue_missing()
        work_off()
        assert_nothing_left()


@pytest.mark.slow
def test_a_clean_up_killed_at_any_step_is_finished_by_the_next_run(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, work_off: Callable[[], int], steps: Steps
) -> None:
    def prepare() -> list[Any]:
        mine = db.session.scalar(select(IntegrationAccount)) or stays.connected(alice.workspace, pms)
        stays.synced(mine)
        removal.remove_account(mine)
        return []

    for _ in killed_at_each_step(steps, removal.clear_leftovers, prepare):
        removal.enqueue_missing()
        work_off()
        collect_orphans()
        assert_nothing_left()


@pytest.mark.parametrize("enabled", [False, True], ids=["off", "on"])
def test_the_switch_killed_at_any_step_is_on_or_off_with_all_its_rows(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, enabled: bool, steps: Steps
) -> None:
    def prepare() -> list[Any]:
        integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=not enabled)
        return [alice.workspace.id, enabled]

    stays.synced(account)
    for lived in killed_at_each_step(steps, switch, prepare):
        is_on = db.session.scalars(select(IntegrationDefinition)).one().enable_images_cdn
        assert is_on == enabled or not lived
        assert {stays.is_cdn(url) for url in stays.shown_urls()} == {is_on}
        asked = sum(pms.asked.values())
        stays.run_due()
        assert (sum(pms.asked.values()) > asked) == is_on
        assert pms.count("/pictures/", 200) == 2, "verified at most"
