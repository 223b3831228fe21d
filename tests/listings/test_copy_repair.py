"""Damaged copies: downloaded again under their key, or replaced by the version that the PMS has now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal import inventory
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import storage
from portal.inventory import CHANGED, MISSING, StoredObject
from portal.listings import copies, integrations, removal
from portal.listings.copies import repair
from portal.listings.models import GALLERY, THUMBNAIL, IntegrationAccount, ListingImage
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.pixels.files import drawn

SIZE = 1, 4  # one listing of four pictures


def damage(key: str, how: str) -> None:
    """Delete a copy behind the inventory's back, or overwrite it."""
    data = storage.cdn.get(key)
    if how == "deleted":
        storage.cdn.delete(key)
    elif how == "cut":
        storage.cdn.put(key, (data or b"")[:500], "image/jpeg")
    else:
        storage.cdn.put(key, b"\0" * len(data or b"") if how == "garbage" else drawn("JPEG"), "image/jpeg")


def facts(key: str | None) -> inventory.Facts:
    found = inventory.find(storage.cdn, key or "")
    assert found
    return found


def images(type: str = GALLERY) -> list[ListingImage]:
    return [image for image in stays.images() if image.type == type]


def assert_intact() -> None:
    """Assert that every copy is what the inventory says, and that nothing is marked."""
    for row in db.session.query(StoredObject):
        stored = inventory.find(storage.cdn, row.key)
        assert stored and stored.damage is None
        inventory.verified(storage.cdn, stored)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_damaged_copies_are_the_same_again_after_a_repair(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    before, downloads = stays.objects(), pms.count("/pictures/")
    keys = [image.key or "" for image in images()]
    for key, how in zip(keys, ("deleted", "garbage", "another picture", "cut"), strict=True):
        damage(key, how)
    assert repair.repair(keys) == dict.fromkeys(keys)
    db.session.rollback()
    assert stays.objects() == before
    assert pms.count("/pictures/") - downloads == 3, "the first one has the thumbnail's bytes"
    assert_intact()
    stays.assert_copied(pms, alice.workspace)


def test_both_copies_of_one_url_are_one_download(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    before, downloads = stays.objects(), pms.count("/pictures/")
    keys = [images(type)[0].key or "" for type in (THUMBNAIL, GALLERY)]
    for key in keys:
        damage(key, "deleted")
    assert repair.repair(keys) == dict.fromkeys(keys)
    assert stays.objects() == before
    assert pms.count("/pictures/", 200) - downloads == 1


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_new_version_takes_the_place_of_a_damaged_copy(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    old_key = images()[1].key or ""
    damage(old_key, "garbage")
    pms.catalogue.change_bytes(1, 1)
    assert repair.repair([old_key]) == {old_key: None}
    db.session.rollback()
    new_key = images()[1].key
    assert new_key != old_key
    assert facts(old_key).replaced_by == new_key
    assert storage.cdn.get(old_key), "it is kept for a while"
    answer = alice.app.test_client().get(f"/cdn/{old_key}")
    assert answer.status_code == 308 and answer.location.endswith(f"/cdn/{new_key}")
    assert facts(new_key).damage is None
    pms.catalogue.change_bytes(1, 1)
    stays.run_due()
    assert inventory.facts(storage.cdn, [old_key, new_key or ""]) == {}, "an intact one is dropped, and takes it along"
    assert {old_key, new_key}.isdisjoint(stays.objects())
    stays.assert_copied(pms, alice.workspace)


def test_a_version_that_returns_has_its_former_address(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    old_key, before = images()[1].key or "", stays.objects()
    damage(old_key, "garbage")
    changed = pms.catalogue.change_bytes(1, 1)
    repair.repair([old_key])
    changed.version -= 1
    stays.run_due()
    assert images()[1].key == old_key
    assert stays.objects() == before
    assert facts(old_key).replaced_by is None
    assert_intact()


def test_a_copy_without_a_hash_is_downloaded_again(account: IntegrationAccount, pms: FakeHostaway) -> None:
    """One of a release before the inventory, of which the audit found that it can't be opened."""
    stays.synced(account)
    key, before = images()[1].key or "", stays.objects()
    damage(key, "garbage")
    db.session.query(StoredObject).filter_by(key=key).update({"sha256": None, "etag": None})
    db.session.commit()
    assert repair.repair([key]) == {key: None}
    assert stays.objects() == before
    assert_intact()


def test_what_does_not_fit_into_the_time_is_left_to_a_worker(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    key = images()[1].key or ""
    damage(key, "garbage")
    assert repair.repair([key], within_s=0) == {key: repair.NOT_YET}
    copies.run()
    assert_intact()


def test_a_copy_that_the_pms_refuses_stays_marked_and_is_named(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    refused, unavailable = [image.key or "" for image in images()[1:3]]
    for key in (refused, unavailable):
        storage.cdn.delete(key)
    pms.fail_next(2, 404, below="/pictures/1/2")
    pms.fail_next(1, 503, below="/pictures/1/3")
    reasons = {refused: "PMS image returns 404", unavailable: "PMS image returns 503"}
    assert repair.repair(reasons) == reasons
    assert [facts(key).damage for key in reasons] == [MISSING] * 2
    db.session.rollback()
    asked = pms.count("/pictures/")
    for key in reasons:
        repair.schedule(key, MISSING)
    copies.run()
    assert pms.count("/pictures/") == asked, "readers who notice it again do not make us download it again"
    assert repair.repair([refused, unavailable]) == {refused: "PMS image returns 404", unavailable: None}
    stays.run_due()
    assert_intact()


def test_what_no_pms_can_give_is_named(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    stays.synced(account)
    key, superseded, unreferenced = (image.key or "" for image in images()[1:4])
    pms.catalogue.listings[1].pictures = pms.catalogue.listings[1].pictures[:2]
    stays.synced(account)
    db.session.delete(images()[3])
    db.session.commit()
    for each in (key, superseded, unreferenced):
        storage.cdn.delete(each)
    asked = pms.count("/pictures/")
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    reasons = {key: repair.CDN_OFF, superseded: repair.SUPERSEDED, unreferenced: repair.UNREFERENCED}
    assert repair.repair([*reasons, "gone"]) == reasons | {"gone": None}
    removal.remove_account(account)
    assert repair.repair([key]) == {key: repair.REMOVED}
    assert pms.count("/pictures/") == asked


def test_a_reader_or_the_audit_has_a_worker_repair_a_copy(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, work_off: Callable[[], int]
) -> None:
    stays.synced(account)
    work_off()
    first, second = (image.key or "" for image in images()[1:3])
    for key in (first, second):
        damage(key, "another picture")
    repair.schedule(first)
    repair.schedule(first)
    assert facts(first).damage == CHANGED
    inventory.mark(storage.cdn, {second: CHANGED})
    db.session.commit()
    assert (repair.schedule_marked(), repair.schedule_marked()) == (1, 0)
    assert work_off() == 1
    assert_intact()
    stays.assert_copied(pms, alice.workspace)


def test_a_verification_finds_damaged_copies(account: IntegrationAccount, alice: Person, pms: FakeHostaway) -> None:
    stays.synced(account)
    for image, how in zip(images()[1:], ("deleted", "garbage", "cut"), strict=True):
        damage(image.key or "", how)
    stays.run_due()
    assert_intact()
    stays.assert_copied(pms, alice.workspace)
    assert [pms.count(f"/pictures/1/{n}.jpg", status) for n in (2, 3, 4) for status in (304, 200)] == [1, 2] * 3


def test_a_moved_bucket_with_other_etags_costs_no_download(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    db.session.query(StoredObject).update({"etag": '"another"'})
    db.session.commit()
    downloads = pms.count("/pictures/", 200)
    stays.run_due()
    assert pms.count("/pictures/", 200) == downloads


def test_a_superseded_copy_is_repaired_by_the_same_picture_under_another_url(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    key = images()[1].key or ""
    damage(key, "garbage")
    repair.schedule(key)
    pms.catalogue.change_url(1, 1)
    stays.synced(account)
    assert {image.key for image in images() if image.position == 1} == {key}
    assert_intact()


def test_dropped_copies_leave_nothing_in_the_inventory(account: IntegrationAccount, pms: FakeHostaway) -> None:
    """Neither what the PMS no longer lists, nor a replaced copy of a removed account."""
    stays.synced(account)
    replaced, superseded = images()[1].key or "", images()[3].key or ""
    damage(replaced, "garbage")
    pms.catalogue.change_bytes(1, 1)
    repair.repair([replaced])
    pms.catalogue.listings[1].pictures.pop()
    stays.synced(account)
    images()[3].superseded_at = now() - removal.SUPERSEDED_KEPT - timedelta(hours=1)
    db.session.commit()
    assert removal.drop_superseded_copies() == 1
    assert inventory.find(storage.cdn, superseded) is None
    removal.remove_account(account)
    removal.clear_leftovers()
    assert db.session.query(StoredObject).count() == 0
    assert stays.objects() == {}


def test_no_copy_of_another_workspace_is_touched(
    account: IntegrationAccount, alice: Person, charlie: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    stays.synced(stays.connected(charlie.workspace, pms))
    mine, theirs = ([image for image in images() if image.listing_id == id] for id in (1, 2))
    for image in (mine[1], theirs[1]):
        damage(image.key or "", "garbage")
    others = {key: data for key, data in stays.objects().items() if key.startswith(str(charlie.workspace.uuid))}
    due_at = [image.next_at for image in theirs]
    assert len(others) == 5
    assert repair.repair([mine[1].key or ""]) == {mine[1].key: None}
    db.session.rollback()
    assert {key: data for key, data in stays.objects().items() if key in others} == others
    assert [image.next_at for image in theirs] == due_at


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_concurrent_repairs_and_workers_agree(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    pms.catalogue.add(4)
    stays.synced(account)
    before, keys = stays.objects(), [image.key or "" for image in images()]
    for key in keys:
        damage(key, "garbage")
    whole = (lambda: repair.repair(keys),)
    one_by_one = (lambda: [repair.schedule(key) for key in keys] and copies.run(),)
    outcomes = at_once(lambda do: do(), whole, whole, one_by_one, (copies.run,))
    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert {reason for found in outcomes[:2] for reason in found.values()} <= {None, repair.NOT_YET}
    copies.run()
    db.session.rollback()
    assert stays.objects() == before
    assert_intact()
