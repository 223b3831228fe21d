"""A property created from a listing: once, with its pictures imported once, despite concurrency and crashes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal import config, properties_from_listings
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import NotFound, OverQuota
from portal.images import gallery, imports, properties
from portal.images.imports import fetch
from portal.images.models import ImportBudget, ImportItem, ImportJob, Property
from portal.listings import catalogue, removal, sync
from portal.listings.models import IntegrationAccount, Listing
from portal.listings.providers.base import FoundListing, Picture
from portal.listings.sync import upsert
from portal.work import lock, work
from tests import factories
from tests.conftest import KILLED, on_both, on_each
from tests.crashes import Steps, dies_at
from tests.factories import Person
from tests.images.test_import_order import arrive
from tests.listings import rows, stays
from tests.listings.conftest import pms
from tests.outside import Reply, outside

__all__ = ["pms"]


@pytest.fixture
def listing(alice: Person) -> Listing:
    """A listing of 22 pictures, more than one API call may import, in a workspace whose plan has room for them."""
    with work():
        db.session.execute(update(Workspace).values(plan_name="pro"))
    return rows.listing_of(rows.account_of(alice.workspace), *["waiting"] * 22)


def urls(listing: Listing) -> list[str]:
    return [picture["url"] for picture in listing.pictures]


def asked(home: Property | None = None) -> list[str]:
    """The URLs requested by imports into one property, in order."""
    db.session.rollback()
    found = select(ImportItem.url).join(ImportJob, ImportItem.job_id == ImportJob.id)
    found = found.where(ImportJob.property_id == home.id) if home else found
    return list(db.session.scalars(found.order_by(ImportJob.id, ImportItem.position)))


def homes() -> int:
    return db.session.scalar(select(func.count(Property.id))) or 0


def create(listing_id: int) -> int:
    """For threads and other processes: takes the id, returns the id."""
    return properties_from_listings.create(db.session.get_one(Listing, listing_id)).id


@on_each
def test_a_listing_becomes_a_property_with_its_pictures(alice: Person, pms: FakeHostaway) -> None:
    stays.connected(alice.workspace, pms)
    sync.run()
    listing, fake = stays.listings()[0], pms.catalogue.listings[1]
    home = properties_from_listings.create(listing, added_by="Alice")
    assert (home.workspace_id, home.name, home.external_ref) == (alice.workspace.id, fake.name, "1")
    assert properties_from_listings.find(listing) == home
    fetch.run()
    db.session.rollback()
    images = gallery.images(home)
    assert [image.sha256 for image in images] == [sha256(each.bytes()).hexdigest() for each in fake.pictures]
    assert [image.alt_text for image in images] == [each.description for each in fake.pictures]
    assert [image.is_main for image in images] == [True, False, False, False]
    assert {image.added_by for image in images} == {"Alice"}


@on_each
def test_photos_keep_the_order_of_the_listing_whatever_arrives_first(listing: Listing) -> None:
    """More than one API call may import, the last ones first."""
    with outside(lambda _: Reply(body=factories.jpeg(64, 48))) as host:
        links = [f"{host.url}/{n}.jpg" for n in range(22)]
        with work():
            listing.pictures = [{"url": url, "description": "x" * 600 if n else " "} for n, url in enumerate(links)]
        home = properties_from_listings.create(listing)
        for url in reversed(links):
            arrive(url)
    images = gallery.images(home)
    assert [image.file_name for image in images] == [f"{n}.jpg" for n in range(22)]
    assert [image.is_main for image in images] == [True] + [False] * 21
    assert [image.alt_text for image in images] == [None] + ["x" * 500] * 21


@on_each
def test_the_second_time_it_is_the_same_property_and_nothing_is_imported(listing: Listing) -> None:
    home = properties_from_listings.create(listing)
    assert asked(home) == urls(listing)
    assert listing.creating_until is None
    assert properties_from_listings.create(listing) == home
    assert (asked(), homes()) == (urls(listing), 1)


def test_pictures_that_the_pms_added_are_imported_the_second_time(listing: Listing) -> None:
    home = properties_from_listings.create(listing)
    before, new = urls(listing), "https://cdn.example/100/new.jpg"
    with work() as w:
        lock(stays.account_of(listing))
        pictures = tuple(map(Picture, [new, *before]))
        upsert.store_listings(
            w, stays.account_of(listing), [FoundListing(listing.external_id, listing.name, None, pictures)]
        )
    assert properties_from_listings.create(listing) == home
    assert asked(home) == [*before, new]


@on_each
def test_of_two_concurrent_calls_one_imports(listing: Listing, at_once: Callable[..., list[Any]]) -> None:
    found = at_once(create, *[(listing.id,)] * 2)
    assert found == [found[0]] * 2, found
    assert (sorted(asked()), homes()) == (sorted(urls(listing)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("database", KILLED, indirect=True)
def test_a_creation_killed_at_any_step_resumes_when_its_lease_expires(listing: Listing, steps: Steps) -> None:
    deaths = 0
    for step in steps:
        lived = dies_at(step, config.settings(), create, listing.id)
        db.session.rollback()
        if listing.creating_until:
            before = asked()
            create(listing.id)
            assert asked() == before, "the lease of the dead process still holds"
            with work():
                listing.creating_until = now()
        home = properties_from_listings.create(listing)
        assert (asked(home), homes()) == (urls(listing), 1)
        properties.delete(home)
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=40)


def test_the_lease_lasts_a_minute(listing: Listing) -> None:
    with work():
        home = Property(workspace_id=listing.workspace_id, name="Begun")
        db.session.add(home)
        db.session.flush()
        listing.property_id, listing.creating_until = home.id, now() + properties_from_listings.LEASE
    assert properties_from_listings.create(listing) == home
    assert asked() == []
    with work():
        listing.creating_until = now() - timedelta(seconds=1)
    assert properties_from_listings.create(listing) == home
    assert asked(home) == urls(listing)


@on_each
def test_as_many_pictures_are_imported_as_the_plan_has_room_for(alice: Person, listing: Listing) -> None:
    with work():
        stays.account_of(listing).definition.workspace.plan_name = "free"
    home = properties_from_listings.create(listing)
    assert asked(home) == urls(listing)[:20]
    properties_from_listings.create(listing)
    assert asked(home) == urls(listing)[:20], "pictures being imported count too"
    with work():
        stays.account_of(listing).definition.workspace.plan_name = "pro"
    properties_from_listings.create(listing)
    assert asked(home) == urls(listing)


@on_both
def test_over_the_monthly_budget_the_property_exists_and_the_rest_follows(listing: Listing) -> None:
    workspace = stays.account_of(listing).definition.workspace
    with work():
        used = workspace.plan.imports_per_month - 21
        db.session.add(ImportBudget(workspace_id=workspace.id, month=f"{now():%Y-%m}", used=used))
    with pytest.raises(OverQuota):
        properties_from_listings.create(listing)
    home = properties_from_listings.find(listing)
    assert home
    assert asked(home) == urls(listing)[:21]
    assert listing.creating_until is None, "the next call need not wait"
    with work():
        db.session.execute(update(ImportBudget).values(used=0))
    assert properties_from_listings.create(listing) == home
    assert asked(home) == urls(listing)
    assert imports.budget(workspace).used == 1


@on_each
def test_once_its_property_is_deleted_a_listing_becomes_a_new_one(listing: Listing) -> None:
    first = properties_from_listings.create(listing)
    first_uuid = first.uuid
    properties.delete(first)
    assert properties_from_listings.find(listing) is None
    second = properties_from_listings.create(listing)
    assert second.uuid != first_uuid
    assert (asked(), homes()) == (urls(listing), 1)


@on_each
def test_a_removed_listing_is_not_found(listing: Listing) -> None:
    with work():
        db.session.execute(Listing.__table__.delete())  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        properties_from_listings.create(listing)
    assert homes() == 0


@on_both
def test_a_listing_removed_meanwhile_leaves_its_property_with_its_pictures(
    listing: Listing, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def claimed(listing: Listing) -> Any:
        found = kept(listing)
        at_once(lambda: removal.remove_account(db.session.scalars(select(IntegrationAccount)).one()), ())
        return found

    kept, named = properties_from_listings._claim, urls(listing)
    monkeypatch.setattr(properties_from_listings, "_claim", claimed)
    assert properties_from_listings.create(listing).external_ref == "100"
    assert asked() == named


@on_both
def test_a_property_deleted_meanwhile_is_404_and_no_failure(
    listing: Listing, alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_requested(property: Property, urls: list[str]) -> list[str]:
        at_once(lambda: properties.delete(db.session.scalars(select(Property)).one()), ())
        db.session.rollback()
        return kept(property, urls)

    kept, path = properties_from_listings._not_requested, f"/listings/{listing.uuid}/property"
    monkeypatch.setattr(properties_from_listings, "_not_requested", not_requested)
    assert alice.browser().post(path).status_code == 404
    assert (homes(), asked()) == (0, [])


def test_a_link_that_can_never_be_fetched_blocks_no_other(listing: Listing) -> None:
    bad = ["https://user:secret@cdn.example/1.jpg", "https://127.1/2.jpg"]
    with work():
        listing.pictures = [{"url": url, "description": ""} for url in [bad[0], *urls(listing)[:3], bad[1]]]
    home = properties_from_listings.create(listing)
    assert asked(home) == urls(listing)[1:4]


def test_a_listing_without_a_name_or_a_picture_becomes_a_property_too(alice: Person) -> None:
    home = properties_from_listings.create(rows.listing_of(rows.account_of(alice.workspace), name=" "))
    assert (home.name, asked()) == ("Untitled", [])


def test_charlie_finds_neither_listing_nor_property(alice: Person, charlie: Person, listing: Listing) -> None:
    home = properties_from_listings.create(listing)
    with pytest.raises(NotFound):
        catalogue.find(charlie.workspace, str(listing.uuid))
    with pytest.raises(NotFound):
        properties.find(charlie.workspace, str(home.uuid))
    own = rows.listing_of(rows.account_of(charlie.workspace), "waiting")
    with work():
        own.external_id = listing.external_id
    assert properties_from_listings.create(own).workspace_id == charlie.workspace.id
    assert asked(home) == urls(listing)
