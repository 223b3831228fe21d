"""The switch: when off, nothing new is fetched and the PMS's URLs are shown; when on again, copies are back
immediately."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copies, integrations, removal
from portal.listings.copies import results, selection, tasks
from portal.listings.copies.fetch import perform
from portal.listings.models import IntegrationAccount, IntegrationDefinition, ListingImage
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.conftest import BOTH, on_both, on_each
from tests.factories import Person
from tests.listings import stays
from tests.outside import Reply, outside


@on_each
def test_switching_off_and_on_restores_the_copies_immediately_without_a_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    there, downloads = stays.objects(), pms.count("/pictures/")
    before = stays.shown_urls()
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    assert not any(map(stays.is_cdn, stays.shown_urls())), "the PMS's URLs"
    client = alice.app.test_client()
    assert [client.get(f"/cdn/{key}").status_code for key in there] == [200] * len(there)
    stays.synced(account)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    assert stays.shown_urls() == before
    stays.synced(account)
    assert (pms.count("/pictures/"), stays.objects()) == (downloads, there)
    assert all(image.next_at and image.next_at > now() + timedelta(days=6) for image in stays.images())


@on_each
def test_queued_pictures_are_skipped_while_off_without_failing_and_fetched_when_on_again(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced_only(account)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    copies.run()
    pms.catalogue.add(2)
    stays.synced(account)
    assert (pms.count("/pictures/"), stays.objects()) == (0, {})
    assert {(image.failure_reason, image.key, image.attempts) for image in stays.images()} == {(None, None, 0)}
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


@on_each
def test_a_switch_updates_no_picture(account: IntegrationAccount, alice: Person) -> None:
    stays.synced(account)
    with stays.statements() as asked:
        for enabled in (False, True):
            integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=enabled)
    assert stays.writes(asked) == []


@on_each
def test_pictures_waiting_while_off_delay_no_other_provider(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "ACCOUNTS", 1)
    monkeypatch.setattr(selection, "PER_ACCOUNT", 3)
    stays.synced_only(account)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    with work():
        other = IntegrationDefinition(workspace_id=alice.workspace.id, provider="GUESTY", enable_images_cdn=True)
        db.session.add(other)
        db.session.flush()
        theirs = IntegrationAccount(definition_id=other.id, name="Other", credentials="{}", host="other", next_at=None)
        db.session.add(theirs)
    listing = stays.told(theirs)[0]
    with outside(lambda _: Reply(body=factories.jpeg(64, 48))) as host:
        with work():
            db.session.execute(
                update(ListingImage)
                .where(ListingImage.listing_id == listing.id)
                .values(original_url=f"{host.url}/1.jpg", host="other")
            )
        copies.run()
    db.session.rollback()
    assert [image.listing_id for image in stays.images() if image.key] == [listing.id] * 2
    assert pms.count("/pictures/") == 0


@on_each
def test_a_switch_turned_off_between_choice_and_download_is_honoured(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(most: int) -> list[int]:
        chosen = kept(most)
        integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
        return chosen

    kept = selection.pick
    monkeypatch.setattr(selection, "pick", choose)
    stays.synced(account)
    assert pms.count("/pictures/") == 0
    assert {(image.failure_reason, image.key, image.attempts) for image in stays.images()} == {(None, None, 0)}
    monkeypatch.undo()
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    copies.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


@on_both
def test_a_picture_in_flight_when_the_switch_goes_off_is_not_copied(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    def off() -> None:
        try:
            stays.until_busy()
            integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
        finally:
            host.closed.set()

    with outside(lambda _: Reply(body=factories.jpeg(64, 48), after_s=60)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copies.run,), (off,)) == [3, None]
        seen = {(i.failure_reason, i.key, i.fetching_until, i.attempts) for i in stays.images()}
        assert seen == {(None, None, None, 0)}
        assert stays.objects() == {}
        integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
        copies.run()
    assert len(stays.objects()) == 6


def test_hidden_copies_send_no_event_until_the_switch_is_on_again(account: IntegrationAccount, alice: Person) -> None:
    endpoints.create(alice.workspace, "http://127.0.0.1:9/hook", [events.LISTING_IMAGES_UPDATED])
    stays.synced_only(account)
    *some, last = [task for task in tasks._claim(99) if task.listing_id == stays.listings()[0].id]
    results.record([(task, perform(task)) for task in some])
    found = perform(last)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    results.record([(last, found)])
    assert db.session.query(Delivery).count() == 0
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    stays.let_leases_run_out()
    copies.run()
    assert db.session.query(Delivery).count() == 3, "one event per listing"


@pytest.mark.parametrize("database", BOTH[1:], indirect=True)
def test_an_account_removed_during_the_switch_is_not_enqueued(
    app: Flask, account: IntegrationAccount, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    account_id, all_of_it = account.id, integrations.accounts

    def accounts(definition: IntegrationDefinition) -> list[IntegrationAccount]:
        found = all_of_it(definition)
        with ThreadPoolExecutor(1) as somebody:
            somebody.submit(remove).result(timeout=30)
        return found

    def remove() -> None:
        with app.app_context():
            removal.remove_account(db.session.get_one(IntegrationAccount, account_id))

    monkeypatch.setattr(integrations, "accounts", accounts)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    db.session.rollback()
    assert db.session.scalar(select(IntegrationAccount.next_at).where(IntegrationAccount.id == account_id)) is None
