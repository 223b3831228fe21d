"""A picture's life: it moves, changes, goes, comes back; the switch goes off and on; its listing and account go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal import config, owners, storage
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import Asked, Said
from portal.errors import NotFound
from portal.listings import copying, detection, integrations, removal, shown
from portal.listings.models import (
    GALLERY,
    IntegrationAccount,
    Leftover,
    Listing,
    ListingImage,
    SyncPage,
)
from portal.work import work
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from tests.outside import Reply, outside

AT_ONCE = timedelta(seconds=-60)


def gallery(listing: int = 0) -> list[ListingImage]:
    """The gallery of a listing as the PMS shows it now."""
    found = stays.images(stays.listings()[listing])
    return [image for image in found if image.type == GALLERY and not image.superseded_at]


def objects() -> set[str]:
    return {one.key for one in storage.cdn.list()}


def shown_urls() -> list[str]:
    """What is shown of all listings, in order."""
    found = shown.shown(stays.listings())
    return [picture["url"] for one in found for picture in one.pictures] + [str(one.thumbnail_url) for one in found]


def is_cdn(url: str) -> bool:
    return url.startswith(config.settings().cdn_url)


def long_ago() -> None:
    """What the PMS doesn't name any more, it has not named for as long as copies are kept."""
    with work():
        gone = update(ListingImage).where(ListingImage.superseded_at.is_not(None))
        db.session.execute(gone.values(superseded_at=now() - removal.SUPERSEDED_KEPT - timedelta(hours=1)))


def test_a2_another_order_changes_positions_and_nothing_else(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    before, downloads, there = gallery(), pms.count("/pictures/"), objects()
    keys = [image.key for image in before]
    fake = pms.catalogue.listings[1]
    fake.pictures[1:] = reversed(fake.pictures[1:])
    stays.synced(account)
    after = gallery()
    assert [image.key for image in after] == [keys[0], keys[3], keys[2], keys[1]]
    assert [image.position for image in after] == [0, 1, 2, 3]
    assert {image.id for image in after} == {image.id for image in before}
    assert (pms.count("/pictures/"), objects()) == (downloads, there)
    stays.assert_copied(pms, alice.workspace)


def test_a4_another_first_picture_is_the_thumbnail_without_a_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    downloads = pms.count("/pictures/")
    pms.catalogue.listings[1].pictures.reverse()
    stays.synced(account)
    assert pms.count("/pictures/") == downloads, "its bytes are in the gallery already"
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a5_a_changed_url_has_a_new_record_beside_the_old_one_which_is_not_served(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    old = gallery()[1]
    old_id, old_key, old_url = old.id, old.key, old.original_url
    new_url = pms.url_of(pms.catalogue.change_url(1, 1))
    stays.synced_only(account)
    assert new_url in shown_urls(), "the PMS's own until there is a copy"
    copying.run()
    stays.synced(account)
    new, old = gallery()[1], db.session.get_one(ListingImage, old_id)
    assert (old.original_url, old.key, old.next_at) == (old_url, old_key, None)
    assert old.superseded_at
    assert new.original_url == new_url
    assert new.key == old_key, "the same bytes: no second object"
    assert all(map(is_cdn, shown_urls()))
    stays.assert_copied(pms, alice.workspace)


def test_a5_an_old_url_that_comes_back_has_its_copy_at_once(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    gone = pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    pms.catalogue.listings[1].pictures.append(gone)
    downloads = pms.count("/pictures/")
    stays.synced(account)
    assert pms.count("/pictures/") == downloads
    assert len(gallery()) == 4
    assert all(map(is_cdn, shown_urls()))
    assert all(image.next_at and image.next_at > now() + timedelta(days=6) for image in gallery())


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a6_bytes_that_change_behind_one_url_are_found_by_a_conditional_request(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    first = gallery()[0]
    assert first.next_at
    assert timedelta(days=6) < first.next_at - now() <= detection.VERIFY_EVERY
    checked_at, there = first.last_checked_at, objects()
    stays.all_at_once()
    copying.run()
    db.session.rollback()
    assert (pms.count("/pictures/", 200), pms.count("/pictures/", 304)) == (12, 12), "asked for, not downloaded"
    assert objects() == there
    assert gallery()[0].last_checked_at > checked_at
    changed = pms.catalogue.change_bytes(1, 0)
    old_keys = {image.key for image in stays.images() if image.original_url == pms.url_of(changed)}
    stays.all_at_once()
    copying.run()
    db.session.rollback()
    assert (pms.count("/pictures/", 200), pms.count("/pictures/", 304)) == (13, 23)
    assert len(old_keys) == 2
    assert old_keys.isdisjoint(objects()), "what nothing names is dropped"
    stays.assert_copied(pms, alice.workspace)


def test_a6_a_host_that_knows_no_conditions_is_verified_by_its_bytes(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    data = [factories.jpeg(64, 48)]
    with outside(lambda _: Reply(body=data[0])) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
        there = objects()
        stays.all_at_once()
        copying.run()
        assert objects() == there
        data[0] = factories.jpeg(64, 48, (1, 2, 3))
        stays.all_at_once()
        copying.run()
    assert len(objects()) == len(there)
    assert objects().isdisjoint(there)


def test_a6_a_copy_whose_object_was_lost_is_made_anew_when_it_is_verified(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """J11: somebody deleted it by hand."""
    stays.synced(account)
    storage.cdn.delete(str(gallery()[1].key))
    stays.all_at_once()
    copying.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_a7_a_link_that_failed_is_fetched_again_when_it_is_signed_anew(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    url_of, turn = pms.url_of, 1
    pms.url_of = lambda picture: f"{url_of(picture)}?Expires={turn}&Signature={turn}"  # type: ignore[method-assign]
    pms.fail_next(1, 403, below="/pictures/1/2.jpg")
    stays.synced(account)
    assert gallery()[1].failure_reason == "PMS image returns 403"
    turn = 2
    stays.synced(account)
    assert gallery()[1].failure_reason is None
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a8_a_removed_picture_is_not_served_and_its_copy_goes_after_a_while(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    there = objects()
    pms.catalogue.listings[1].pictures.pop()
    pms.catalogue.listings[2].pictures.pop(0)
    stays.synced(account)
    assert len(shown_urls()) == 3 + 4 * 3 - 2
    assert removal.forget_superseded() == 0
    assert there <= objects()
    long_ago()
    assert removal.forget_superseded() == 3, "two of the gallery, and what was the second listing's thumbnail"
    db.session.rollback()
    assert len([image for image in stays.images() if image.superseded_at]) == 3, "the records stay"
    stays.assert_copied(pms, alice.workspace)


def test_a8_a_copy_that_another_picture_shares_is_kept_as_long_as_that(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    first = pms.catalogue.listings[1]
    first.pictures[1].number = first.pictures[2].number = first.pictures[3].number
    stays.synced(account)
    first.pictures.pop(1)
    stays.synced(account)
    long_ago()
    assert removal.forget_superseded() == 1
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)
    del first.pictures[1:]
    stays.synced(account)
    long_ago()
    assert removal.forget_superseded() == 2, "both that shared it at once"
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_a8_a_picture_that_comes_back_after_that_is_downloaded_again(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    gone = pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    long_ago()
    removal.forget_superseded()
    pms.catalogue.listings[1].pictures.append(gone)
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a10_off_and_on_again_brings_the_copies_back_at_once_without_a_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """Line 6 of what must hold."""
    stays.synced(account)
    there, downloads = objects(), pms.count("/pictures/")
    before = shown_urls()
    integrations.switch(alice.workspace, "hostaway", enabled=False)
    assert not any(map(is_cdn, shown_urls())), "the PMS's own URLs"
    client = alice.app.test_client()
    assert [client.get(f"/cdn/{key}").status_code for key in there] == [200] * len(there)
    assert {image.next_at for image in stays.images()} == {None}
    stays.synced(account)
    integrations.switch(alice.workspace, "hostaway", enabled=True)
    assert shown_urls() == before
    stays.synced(account)
    assert (pms.count("/pictures/"), objects()) == (downloads, there)
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
    assert (pms.count("/pictures/"), objects()) == (0, set())
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
        assert objects() == set()
        integrations.switch(alice.workspace, "hostaway", enabled=True)
        copying.run()
    assert len(objects()) == 6


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a15_a_removed_account_takes_its_listings_and_their_objects_with_it(
    account: IntegrationAccount, alice: Person, charlie: Person, pms: FakeHostaway
) -> None:
    his = stays.synced(stays.connected(charlie.workspace, pms))
    stays.synced(account)
    prefix = f"{alice.workspace.uuid}/"
    hers = {key for key in objects() if key.startswith(prefix)}
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
        assert len(objects()) == 15
    work_off()
    assert objects() == set()
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
    assert objects() == set()
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
    assert (stays.images(), objects()) == ([], set())


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


def test_the_records_of_a_listing_go_with_it(account: IntegrationAccount) -> None:
    """Seed A: "The ListingImage records cascade-delete when the parent listing is removed."""
    stays.synced(account)
    first = stays.listings()[0]
    with work():
        db.session.delete(db.session.get_one(Listing, first.id))
    assert {image.listing_id for image in stays.images()} == {listing.id for listing in stays.listings()}
    assert len(stays.images()) == 10
