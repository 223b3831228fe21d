"""A removed account is hidden immediately: from routes, counts, actions and events, before any worker deletes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, url_for
from sqlalchemy import func, select

from portal import activity, properties_from_listings
from portal.activity import Counts
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import NotFound
from portal.images.models import Property
from portal.listings import copies, integrations, removal, sync
from portal.listings.catalogue import COPIED, FAILED
from portal.listings.models import WITH_REMOVED, IntegrationAccount, Listing, ListingImage
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.conftest import BOTH, on_each
from tests.factories import Person
from tests.listings import rows, stays
from tests.outside import Reply, outside

ABOUT_LISTINGS = ("/listings", "/api/v1/listings", "/api/v1/integration-definition", "/jobs", "/cdn")


@pytest.fixture
def alma(alice: Person) -> IntegrationAccount:
    """An account without a PMS, with a listing copied this minute, and one with a failed picture."""
    account = rows.account_of(alice.workspace, "Alma by the sea")
    for states in ((COPIED,), (COPIED, FAILED)):
        listing = rows.listing_of(account, *states, name=f"Heron House {len(states)}")
        stays.copied(listing, factories.jpeg())
    with work():
        stays.listings()[0].copied_at = now()
    return account


def routes(app: Flask, values: dict[str, Any]) -> list[str]:
    """Each route that reads listings or accounts; a new one needs its values here."""
    found = []
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and rule.rule.startswith(ABOUT_LISTINGS):
                subject = values["account" if "/accounts/" in rule.rule else "listing"]
                known = {"id": subject, "uuid": subject, **values}
                found.append(url_for(rule.endpoint, **{name: known[name] for name in rule.arguments}))
    return [*found, "/listings?state=failed", "/jobs?state=failed"]


def answers(person: Person, paths: list[str]) -> dict[str, tuple[int, str]]:
    """The answers; for a picture, only whether there is one."""
    browser, found = person.browser(), {}
    for path in paths:
        answer = person.api("GET", path) if path.startswith("/api/") else browser.get(path)
        found[path] = answer.status_code, "" if answer.mimetype.startswith("image/") else answer.text
    return found


@on_each
def test_no_reading_route_shows_a_removed_account(app: Flask, alice: Person, alma: IntegrationAccount) -> None:
    listing = stays.listings()[1]
    image = next(one for one in stays.images(listing) if one.key)
    named = {"listing": listing.uuid, "account": alma.uuid, "image_uuid": image.uuid, "key": image.key}
    paths = routes(app, {**named, "provider": "hostaway"})
    words = [listing.name, alma.name, "nav-badge", *map(str, named.values())]
    before = answers(alice, paths)
    assert {status for status, _ in before.values()} == {200}
    assert [word for word in words if not any(word in text for _, text in before.values())] == []

    removal.remove_account(alma)
    after = answers(alice, paths)
    is_there = {path: not any(str(one) in path for one in named.values()) for path in paths}
    assert {path: status for path, (status, _) in after.items()} == {
        path: 200 if shown else 404 for path, shown in is_there.items()
    }
    assert [word for word in words for path, (_, text) in after.items() if is_there[path] and word in text] == []
    assert len(stays.images()) == 3, "no worker has deleted anything"


@on_each
def test_no_count_includes_a_removed_account(alice: Person, alma: IntegrationAccount) -> None:
    def seen() -> tuple[Counts, int, bool, int, int]:
        here = alice.workspace
        return (
            activity.counts(here),
            sum(activity.jobs_per_minute(here)),
            activity.has_failed(here),
            len(activity.causes(here)),
            len(activity.page(here).items),
        )

    assert seen() == (Counts(running=0, waiting=0, failed=1, done=1), 1, True, 1, 3)
    removal.remove_account(alma)
    assert seen() == (Counts(0, 0, 0, 0), 0, False, 0, 0)


@on_each
def test_no_action_works_on_a_removed_account_found_before(alma: IntegrationAccount) -> None:
    listing = stays.listings()[1]
    image = stays.images(listing)[1]
    removal.remove_account(alma)
    for verb in (
        lambda: removal.remove_account(alma),
        lambda: integrations.sync_now(alma),
        lambda: properties_from_listings.create(listing),
        lambda: copies.try_again(image),
    ):
        with pytest.raises(NotFound):
            verb()
    assert copies.try_all_again(select(ListingImage.id)) == 0
    assert db.session.query(Property).count() == 0


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_nothing_is_fetched_for_a_removed_account_and_no_event_is_sent(
    alice: Person, account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    def remove() -> None:
        try:
            stays.until_busy()
            removal.remove_account(db.session.get_one(IntegrationAccount, account_id))
        finally:
            host.closed.set()

    account_id = account.id
    endpoints.create(alice.workspace, "http://127.0.0.1:9/hook", [events.LISTING_IMAGES_UPDATED])
    with outside(lambda _: Reply(body=factories.jpeg(64, 48), after_s=60)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(account)
        assert at_once(lambda do: do(), (copies.run,), (remove,)) == [3, None]
        asked = len(host.seen), sum(pms.asked.values())
        stays.all_at_once()
        stays.let_leases_run_out()
        assert (copies.run(), sync.run()) == (0, 0)
        assert (len(host.seen), sum(pms.asked.values())) == asked
    assert (db.session.query(Delivery).count(), stays.objects()) == (0, {})
    listings = select(func.count(Listing.id))
    assert (db.session.scalar(listings), db.session.scalar(listings, execution_options=WITH_REMOVED)) == (0, 3)
