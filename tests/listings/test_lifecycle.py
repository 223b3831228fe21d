"""The life of a picture: it moves, changes behind its URL, gets another URL, disappears and returns."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from portal import garbage, orphans
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.garbage import Garbage
from portal.infra import storage
from portal.listings import copies, removal
from portal.listings.models import VERIFY_EVERY, IntegrationAccount, ListingImage
from portal.listings.sync import detection
from portal.work import work
from tests import factories
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.outside import Reply, outside


def long_ago() -> None:
    """Pretend that pictures no longer named by the PMS were last named longer ago than copies are kept."""
    with work():
        gone = update(ListingImage).where(ListingImage.superseded_at.is_not(None))
        db.session.execute(gone.values(superseded_at=now() - removal.SUPERSEDED_KEPT - timedelta(hours=1)))


def test_a_new_order_changes_positions_and_nothing_else(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    before, downloads, there = stays.gallery(), pms.count("/pictures/"), stays.objects()
    keys = [image.key for image in before]
    fake = pms.catalogue.listings[1]
    fake.pictures[1:] = reversed(fake.pictures[1:])
    stays.synced(account)
    after = stays.gallery()
    assert [image.key for image in after] == [keys[0], keys[3], keys[2], keys[1]]
    assert [image.position for image in after] == [0, 1, 2, 3]
    assert {image.id for image in after} == {image.id for image in before}
    assert (pms.count("/pictures/"), stays.objects()) == (downloads, there)
    stays.assert_copied(pms, alice.workspace)


def test_a_new_first_picture_becomes_the_thumbnail_without_a_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    downloads = pms.count("/pictures/")
    pms.catalogue.listings[1].pictures.reverse()
    stays.synced(account)
    assert pms.count("/pictures/") == downloads, "its bytes are in the gallery already"
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_changed_url_gets_a_new_record_and_the_old_one_is_not_served(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    old = stays.gallery()[1]
    old_id, old_key, old_url = old.id, old.key, old.original_url
    new_url = pms.url_of(pms.catalogue.change_url(1, 1))
    stays.synced_only(account)
    assert new_url in stays.shown_urls(), "the PMS's URL until there is a copy"
    copies.run()
    stays.synced(account)
    new, old = stays.gallery()[1], db.session.get_one(ListingImage, old_id)
    assert (old.original_url, old.key, old.next_at) == (old_url, old_key, None)
    assert old.superseded_at
    assert new.original_url == new_url
    assert new.key == old_key, "the same bytes: no second object"
    assert all(map(stays.is_cdn, stays.shown_urls()))
    stays.assert_copied(pms, alice.workspace)


def test_an_old_url_that_returns_has_its_copy_immediately(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    gone = pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    pms.catalogue.listings[1].pictures.append(gone)
    downloads = pms.count("/pictures/")
    stays.synced(account)
    assert pms.count("/pictures/") == downloads
    assert len(stays.gallery()) == 4
    assert all(map(stays.is_cdn, stays.shown_urls()))
    assert all(image.next_at and image.next_at > now() + timedelta(days=6) for image in stays.gallery())


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_changed_bytes_behind_a_url_are_found_by_a_conditional_request(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    first = stays.gallery()[0]
    assert first.next_at
    assert timedelta(days=6) < first.next_at - now() <= VERIFY_EVERY
    checked_at, there = first.last_checked_at, stays.objects()
    stays.all_at_once()
    copies.run()
    db.session.rollback()
    assert (pms.count("/pictures/", 200), pms.count("/pictures/", 304)) == (12, 12), "revalidated, not downloaded"
    assert stays.objects() == there
    assert stays.gallery()[0].last_checked_at > checked_at
    changed = pms.catalogue.change_bytes(1, 0)
    old_keys = {image.key for image in stays.images() if image.original_url == pms.url_of(changed)}
    stays.all_at_once()
    copies.run()
    db.session.rollback()
    assert (pms.count("/pictures/", 200), pms.count("/pictures/", 304)) == (13, 23)
    assert len(old_keys) == 2
    assert old_keys.isdisjoint(stays.objects()), "an object that nothing names is dropped"
    stays.assert_copied(pms, alice.workspace)


def test_a_host_without_conditional_requests_is_verified_by_its_bytes(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    data = [factories.jpeg(64, 48)]
    with outside(lambda _: Reply(body=data[0])) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
        there = stays.objects()
        stays.all_at_once()
        copies.run()
        assert stays.objects() == there
        data[0] = factories.jpeg(64, 48, (1, 2, 3))
        stays.all_at_once()
        copies.run()
    assert len(stays.objects()) == len(there)
    assert there.keys().isdisjoint(stays.objects())


def test_a_lost_copy_is_made_again_on_verification(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """Somebody deleted the object by hand."""
    stays.synced(account)
    storage.cdn.delete(str(stays.gallery()[1].key))
    stays.all_at_once()
    copies.run()
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_a_failed_link_is_fetched_again_when_its_signature_changes(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    url_of, signature = pms.url_of, 1
    pms.url_of = lambda picture: f"{url_of(picture)}?Expires={signature}&Signature={signature}"  # type: ignore[method-assign]
    pms.fail_next(1, 403, below="/pictures/1/2.jpg")
    stays.synced(account)
    assert stays.gallery()[1].failure_reason == "PMS image returns 403"
    signature = 2
    stays.synced(account)
    assert stays.gallery()[1].failure_reason is None
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_removed_picture_is_not_served_and_its_copy_is_deleted_later(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    there = stays.objects()
    pms.catalogue.listings[1].pictures.pop()
    pms.catalogue.listings[2].pictures.pop(0)
    stays.synced(account)
    assert len(stays.shown_urls()) == 3 + 4 * 3 - 2
    assert removal.drop_superseded_copies() == 0
    assert there.items() <= stays.objects().items()
    long_ago()
    assert removal.drop_superseded_copies() == 3, "two of the gallery, and the former thumbnail of the second listing"
    db.session.rollback()
    assert len([image for image in stays.images() if image.superseded_at]) == 3, "the records stay"
    stays.assert_copied(pms, alice.workspace)


def test_a_shared_copy_is_kept_as_long_as_another_picture_needs_it(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    first = pms.catalogue.listings[1]
    first.pictures[1].number = first.pictures[2].number = first.pictures[3].number
    stays.synced(account)
    first.pictures.pop(1)
    stays.synced(account)
    long_ago()
    assert removal.drop_superseded_copies() == 1
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)
    del first.pictures[1:]
    stays.synced(account)
    long_ago()
    assert removal.drop_superseded_copies() == 2, "both pictures that shared it"
    db.session.rollback()
    stays.assert_copied(pms, alice.workspace)


def test_a_picture_that_returns_after_its_copy_was_deleted_is_downloaded_again(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    gone = pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    long_ago()
    removal.drop_superseded_copies()
    pms.catalogue.listings[1].pictures.append(gone)
    stays.synced(account)
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_picture_that_returns_during_the_deletion_of_its_copy_is_stored_again(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    """A copy's key is derived from its content: deleting the old object must not delete the new one."""
    stays.synced(account)
    key = str(stays.gallery()[1].key)
    with work():
        db.session.execute(update(ListingImage).where(ListingImage.key == key).values(key=None, next_at=now()))
        garbage.add([(storage.cdn, key)])
    copies.run()
    assert stays.gallery()[1].key is None
    with work():
        db.session.execute(update(Garbage).values(next_at=now()))
    stays.all_at_once()
    copies.run()
    assert stays.gallery()[1].key == key
    assert orphans.collect() == 0
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize(
    ("one", "other"), [("f=%E8.jpg", "f=%E9.jpg"), ("f=%FF", "f=%EF%BF%BD"), ("f=\u00e8", "f=%E8")]
)
def test_only_signing_parameters_are_ignored_not_invalid_utf_8(one: str, other: str) -> None:
    assert detection.url_sha256(f"https://h.example/?{one}") != detection.url_sha256(f"https://h.example/?{other}")
    signed = f"https://h.example/?{one}&X-Amz-Signature=%FF"
    assert detection.url_sha256(signed) == detection.url_sha256(f"https://h.example/?{one}")
