"""The switch: off, nothing new is fetched and the PMS's own URLs are shown; on again, the copies are back at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copying, integrations, settling
from portal.listings.download import carry_out
from portal.listings.models import IntegrationAccount, ListingImage
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person
from tests.listings import rows, stays
from tests.outside import Reply, outside
from tests.workers.conftest import until


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a10_off_and_on_again_brings_the_copies_back_at_once_without_a_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """Line 6 of what must hold."""
    stays.synced(account)
    there, downloads = stays.objects(), pms.count("/pictures/")
    before = stays.shown_urls()
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    assert not any(map(stays.is_cdn, stays.shown_urls())), "the PMS's own URLs"
    client = alice.app.test_client()
    assert [client.get(f"/cdn/{key}").status_code for key in there] == [200] * len(there)
    assert {image.next_at for image in stays.images()} == {None}
    stays.synced(account)
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    assert stays.shown_urls() == before
    stays.synced(account)
    assert (pms.count("/pictures/"), stays.objects()) == (downloads, there)
    assert all(image.next_at and image.next_at > now() + timedelta(days=6) for image in stays.images())


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a10_what_is_queued_is_skipped_and_no_failure_and_fetched_when_it_is_on_again(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced_only(account)
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    copying.run()
    pms.catalogue.add(2)
    stays.synced(account)
    assert (pms.count("/pictures/"), stays.objects()) == (0, {})
    assert {(image.failure_reason, image.key, image.next_at) for image in stays.images()} == {(None, None, None)}
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


def test_a10_a_row_that_was_made_while_the_switch_went_off_is_skipped_by_the_job(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """A sync that read the switch a moment ago: its rows are due, though it is off."""
    stays.synced_only(account)
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    with work():
        db.session.execute(update(ListingImage).values(next_at=now()))
    copying.run()
    db.session.rollback()
    assert pms.count("/pictures/") == 0
    assert {(image.failure_reason, image.next_at) for image in stays.images()} == {(None, None)}


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a10_a_picture_in_flight_when_the_switch_goes_off_is_not_copied(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    def off() -> None:
        stays.until_busy()
        integrations.switch(alice.workspace, "hostaway", enabled=False)

    with outside(lambda _: Reply(body=factories.jpeg(64, 48), after_s=1.5)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copying.run,), (off,)) == [3, None]
        assert {(i.failure_reason, i.key, i.next_at, i.fetching_until) for i in stays.images()} == {(None,) * 4}
        assert stays.objects() == {}
        integrations.switch(alice.workspace, "hostaway", enabled=True)
        copying.run()
    assert len(stays.objects()) == 6


def test_a10_of_copies_that_nobody_is_shown_nobody_is_told_until_it_is_on_again(
    account: IntegrationAccount, alice: Person
) -> None:
    endpoints.create(alice.workspace, "http://127.0.0.1:9/hook", [events.LISTING_IMAGES_UPDATED])
    stays.synced_only(account)
    *some, last = [errand for errand in copying._claim(99, []) if errand.listing_id == stays.listings()[0].id]
    settling.note([(errand, carry_out(errand)) for errand in some])
    found = carry_out(last)
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    settling.note([(last, found)])
    assert db.session.query(Delivery).count() == 0
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    stays.let_leases_run_out()
    copying.run()
    assert db.session.query(Delivery).count() == 3, "each listing once"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_switch_takes_the_pictures_in_the_order_in_which_all_do(
    alice: Person, at_once: Callable[..., list[Any]]
) -> None:
    """What waits and what is copied at once: a switch that took one kind after the other held up whom it waited for."""
    account = rows.account_of(alice.workspace)
    first, second = rows.images(rows.listing_of(account, "waiting", "copied"))
    ids = first.id, second.id
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    held = text("SELECT id FROM listing_image WHERE id = :id FOR UPDATE")
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def settle() -> None:
        db.session.execute(held, {"id": ids[0]})

        def is_waited_for() -> bool:
            with db.engine.connect() as other:
                return bool(other.scalar(waits))

        until(is_waited_for, within_s=10)
        db.session.execute(held, {"id": ids[1]})
        db.session.commit()

    def switch() -> None:
        until(lambda: db.session.scalar(text("SELECT count(*) FROM pg_locks WHERE mode = 'RowShareLock'")), within_s=10)
        db.session.rollback()
        integrations.switch(alice.workspace, "hostaway", enabled=True)

    assert at_once(lambda do: do(), (settle,), (switch,)) == [None, None]
    assert all(image.next_at for image in stays.images())
