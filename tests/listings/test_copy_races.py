"""Concurrent workers: nothing is downloaded twice, nothing deadlocks, and each change sends one event."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copies, counts, integrations, sync
from portal.listings.models import IntegrationAccount, Listing
from portal.listings.providers.base import FoundListing
from portal.listings.sync import upsert
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery
from portal.work import lock, work
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.outside import Reply, outside
from tests.pixels.files import drawn
from tests.processes import until

SIZE = 1, 2  # one listing of two pictures


def test_a_picture_being_fetched_is_not_fetched_by_a_second_worker(
    account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    """A person retries meanwhile, which enqueues a second worker."""

    def retry_meanwhile() -> None:
        try:
            stays.until_busy()
            copies.try_again(stays.images()[0])
            copies.run()
        finally:
            host.closed.set()

    with outside(lambda _: Reply(body=drawn("JPEG"), after_s=60)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copies.run,), (retry_meanwhile,)) == [1, None]
    assert len(host.seen) == 1
    assert len(stays.objects()) == 2


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_concurrent_workers_download_nothing_twice(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    for _ in range(5):
        pms.catalogue.add(4)
    stays.synced_only(account)
    counts = at_once(copies.run, (), (), (), ())
    assert sum(counts) == pms.count("/pictures/") == 2 + 5 * 4
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_concurrent_syncs_and_copies_reach_the_same_result(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    for attempt in range(4):
        with pms.lock:
            pms.catalogue.add(6)
            pms.catalogue.change_url(1, 1)
            pms.catalogue.listings[1].pictures.reverse()
        integrations.sync_now(account)
        outcomes = at_once(lambda do: do(), (sync.run,), (copies.run,), (sync.run,), (copies.run,))
        assert not [each for each in outcomes if isinstance(each, Exception)], attempt
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_listing_sends_one_event_per_change(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    endpoints.create(alice.workspace, "http://127.0.0.1:9/hook", [events.LISTING_IMAGES_UPDATED])

    def sent() -> list[str]:
        found = list(db.session.scalars(select(Delivery).order_by(Delivery.id)))
        bodies = [one.body for one in found]
        with work():
            for one in found:
                db.session.delete(one)
        return bodies

    pms.catalogue.add(3)
    stays.synced(account)
    uuids = [str(listing.uuid) for listing in stays.listings()]
    first = sent()
    assert sorted(uuid for body in first for uuid in uuids if uuid in body) == sorted(uuids)
    assert len(first) == 2
    stays.synced(account)
    assert sent() == [], "nothing changed"
    pms.catalogue.change_url(1, 0)
    pms.catalogue.change_url(1, 1)
    pms.fail_next(1, 503, below="/pictures/1/2")
    stays.synced(account)
    assert sent() == [], "one of its pictures is still waiting"
    stays.run_due()
    assert len(sent()) == 1
    stays.run_due()
    assert sent() == [], "verified, and unchanged"
    pms.catalogue.change_bytes(1, 1)
    stays.run_due()
    assert len(sent()) == 1
    pms.catalogue.change_url(1, 0)
    pms.catalogue.change_url(1, 1)
    pms.fail_next(1, 503, below="/pictures/1/2")
    stays.synced(account)
    pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    assert len(sent()) == 1, "the waiting picture is gone"


@pytest.mark.parametrize("database", BOTH[1:], indirect=True)
def test_a_sync_locks_listings_in_the_common_order_whatever_the_pms_sends(
    account: IntegrationAccount, at_once: Callable[..., list[Any]]
) -> None:
    """Otherwise two transactions could wait for each other."""
    account_id, first, second = account.id, *(listing.id for listing in stays.told(account, 2))

    def upsert_page() -> None:
        with work() as w:
            mine = db.session.get_one(IntegrationAccount, account_id)
            lock(mine)
            upsert.store_listings(w, mine, [FoundListing(external_id, "Again", None, ()) for external_id in ("2", "1")])

    def hold_the_first() -> None:
        with work():
            lock(db.session.get_one(Listing, first))
            held.set()
            until(lambda: db.session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")), within_s=10)
            db.session.execute(text("SELECT 1 FROM listing WHERE id = :id FOR UPDATE NOWAIT"), {"id": second})

    held = threading.Event()
    assert at_once(lambda do: do(), (hold_the_first,), (lambda: held.wait(20) and upsert_page(),)) == [None, None]


@pytest.mark.parametrize("database", BOTH[1:], indirect=True)
def test_a_locked_account_does_not_block_changes_of_its_listings(
    account: IntegrationAccount, at_once: Callable[..., list[Any]]
) -> None:
    """PostgreSQL checks the account when a listing is updated twice in one transaction; a sync locks in the other
    order."""
    account_id, listing_id = account.id, stays.told(account)[0].id
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with work():
            lock(db.session.get_one(IntegrationAccount, account_id))
            held.set()
            assert done.wait(20), "the change waits for the account"

    def change() -> None:
        assert held.wait(20)
        with work():
            listing = db.session.get_one(Listing, listing_id)
            lock(listing)
            listing.has_new_copies = not listing.has_new_copies
            db.session.flush()
            counts.refresh([listing_id])
        done.set()

    assert at_once(lambda do: do(), (hold,), (change,)) == [None, None]
