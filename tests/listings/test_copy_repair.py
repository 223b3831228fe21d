"""Damaged copies: downloaded again under their key, or replaced by the version that the PMS has now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import inventory
from portal.db import db
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


def assert_sound() -> None:
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
    assert_sound()
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
    assert storage.cdn.get(old_key), "it is kept under its old address for a while"
    assert facts(new_key).damage is None
    pms.catalogue.change_bytes(1, 1)
    stays.run_due()
    assert inventory.facts(storage.cdn, [old_key, new_key or ""]) == {}, "a sound one is dropped, and takes it along"
    assert {old_key, new_key}.isdisjoint(stays.objects())
    stays.assert_copied(pms, alice.workspace)


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
    assert_sound()


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
    assert_sound()
    stays.assert_copied(pms, alice.workspace)


@pytest.mark.parametrize("how", ["deleted", "garbage", "cut"])
def test_a_verification_finds_a_damaged_copy(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway, how: str
) -> None:
    stays.synced(account)
    damage(images()[1].key or "", how)
    stays.run_due()
    assert_sound()
    stays.assert_copied(pms, alice.workspace)
    assert pms.count("/pictures/1/2.jpg", 304) == 1
    assert pms.count("/pictures/1/2.jpg", 200) == 2


def test_a_moved_bucket_with_other_etags_costs_no_download(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    db.session.query(StoredObject).update({"etag": '"another"'})
    db.session.commit()
    downloads = pms.count("/pictures/", 200)
    stays.run_due()
    assert pms.count("/pictures/", 200) == downloads


def test_a_superseded_copy_is_made_good_by_the_same_picture_under_another_url(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    key = images()[1].key or ""
    damage(key, "garbage")
    repair.schedule(key)
    pms.catalogue.change_url(1, 1)
    stays.synced(account)
    assert {image.key for image in images() if image.position == 1} == {key}
    assert_sound()


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
    for _ in range(3):
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
    assert_sound()
