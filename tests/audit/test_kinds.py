"""Each damage to each kind of object is found, named and repaired from what is left."""

from __future__ import annotations

import pytest
from flask import Flask

from portal import inventory
from portal.audit import repair
from portal.images import deletion
from portal.images.models import Property
from portal.infra.storage import Bucket
from portal.inventory import COPY, LARGE, ORIGINAL, RENDITION, THUMB, Facts
from portal.webhooks import events
from tests.audit import rubble
from tests.audit.rubble import Gallery
from tests.conftest import on_each

SLOW = pytest.mark.slow


@pytest.fixture
def gallery(home: Property) -> Gallery:
    return rubble.gallery(home)


@on_each
@pytest.mark.parametrize("kind", rubble.HARM)
def test_each_damage_to_what_is_derived_is_repaired_byte_for_byte(app: Flask, gallery: Gallery, kind: str) -> None:
    emitted = rubble.subscribe(gallery.home, events.IMAGE_DAMAGED, events.PROPERTY_UPDATED)
    before, key_before = gallery.bytes_of(), gallery.image.key
    for derived in (LARGE, THUMB, RENDITION):
        rubble.HARM[kind](*gallery.objects[derived])
    code, reported = rubble.audit(app, "--repair")
    assert code == 0
    assert reported["checked"] == 8
    assert reported["left"] == 0
    how = None if kind == "type" else "from_original"
    assert {(each["object"], each["kind"], each["repaired"], each["how"]) for each in reported["findings"]} == {
        (derived, kind, True, how) for derived in (LARGE, THUMB, RENDITION)
    }
    assert {each["imageId"] for each in reported["findings"]} == {str(gallery.image.uuid)}
    assert gallery.bytes_of() == before
    assert {rubble.type_of(*gallery.objects[each]) for each in (LARGE, THUMB)} == {"image/webp"}
    assert gallery.image.key == key_before
    assert emitted() == []
    assert rubble.audit(app) == (0, {"checked": 8, "findings": [], "left": 0})


@on_each
@pytest.mark.parametrize("kind", ["missing", *(pytest.param(harm, marks=SLOW) for harm in ("length", "changed"))])
def test_a_lost_original_is_named_once_and_replaced_only_on_request(app: Flask, gallery: Gallery, kind: str) -> None:
    emitted = rubble.subscribe(gallery.home, events.IMAGE_DAMAGED, events.PROPERTY_UPDATED)
    rubble.HARM[kind](*gallery.objects[ORIGINAL])
    for _ in range(2):
        code, reported = rubble.audit(app, "--repair")
        assert code == 1
        (finding,) = reported["findings"]
        assert (finding["object"], finding["kind"], finding["repaired"], finding["how"]) == (
            ORIGINAL,
            kind,
            False,
            None,
        )
        assert "--from-large" in finding["reason"]
        assert reported["left"] == 1
    (event,) = emitted()
    assert event["type"] == "image.damaged"
    assert event["data"]["imageId"] == str(gallery.image.uuid)
    assert rubble.damages() == {ORIGINAL: kind}
    code, reported = rubble.audit(app, "--repair", "--from-large")
    assert code == 1, "the full size is lost for good"
    assert [(each["repaired"], each["how"]) for each in reported["findings"]] == [(True, "from_large")]
    assert reported["left"] == 1
    assert gallery.image.original_restored_at
    assert [each["type"] for each in emitted()] == ["image.damaged", "property.updated"]
    code, reported = rubble.audit(app)
    assert (code, reported["left"]) == (0, 0)


@pytest.mark.parametrize("kind", rubble.HARM)
def test_a_damaged_copy_is_found(app: Flask, gallery: Gallery, kind: str) -> None:
    rubble.HARM[kind](*gallery.objects[COPY])
    code, reported = rubble.audit(app, "--repair")
    (finding,) = reported["findings"]
    assert (finding["object"], finding["kind"], finding["imageId"]) == (COPY, kind, None)
    assert finding["repaired"] is (kind == "type")
    assert code == (0 if kind == "type" else 1)


def test_a_photo_that_is_deleted_while_its_type_is_mended_stays_deleted(
    app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, key = gallery.objects[LARGE]
    rubble.HARM["type"](bucket, key)
    verified = inventory.verified

    def delete_after(bucket: Bucket, facts: Facts) -> bytes:
        data = verified(bucket, facts)
        deletion.delete(gallery.home, [str(gallery.image.uuid)])
        assert bucket.head(facts.key) is None
        return data

    monkeypatch.setattr(inventory, "verified", delete_after)
    facts = inventory.find(bucket, key)
    assert facts
    repair.repair(bucket, facts, "type")
    assert bucket.head(key) is None


def test_other_bytes_of_another_type_count_as_changed(app: Flask, gallery: Gallery) -> None:
    before = gallery.bytes_of()
    for kind in (LARGE, RENDITION):
        rubble.replace(*gallery.objects[kind])
    code, reported = rubble.audit(app, "--repair", "--workspace", "Alma Stays", "--sample", "0")
    assert code == 0
    assert {each["kind"] for each in reported["findings"]} == {"changed"}
    assert gallery.bytes_of() == before
    assert rubble.type_of(*gallery.objects[LARGE]) == "image/webp"


def test_without_repair_nothing_changes(app: Flask, gallery: Gallery) -> None:
    emitted = rubble.subscribe(gallery.home, events.IMAGE_DAMAGED, events.PROPERTY_UPDATED)
    for place in gallery.objects.values():
        rubble.delete(*place)
    code, reported = rubble.audit(app)
    assert code == 1
    assert reported["left"] == 5
    assert {each["object"] for each in reported["findings"]} == {*gallery.objects}
    assert not any(each["repaired"] for each in reported["findings"])
    assert set(gallery.bytes_of().values()) == {None}
    assert rubble.damages() == {}
    assert emitted() == []


def test_variants_that_get_new_addresses_are_announced_once_for_their_property(
    app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with another version of the encoder: the bytes differ from those that were stored."""
    emitted = rubble.subscribe(gallery.home, events.PROPERTY_UPDATED)
    for image in rubble.images(gallery.home):
        for key in (image.large_key, image.thumb_key):
            rubble.store_older(key or "")
            rubble.delete(rubble.storage.cdn, key or "")
    code, reported = rubble.audit(app, "--repair")
    assert code == 0
    assert len(reported["findings"]) == 4
    assert {each["how"] for each in reported["findings"]} == {"from_original"}
    assert len(emitted()) == 1
    assert rubble.row_of(gallery.objects[LARGE]).replaced_by == gallery.image.large_key
    assert rubble.audit(app)[0] == 0, "what was replaced is not missed"


def test_bytes_that_rot_under_an_unchanged_etag_are_found_by_reading(app: Flask, gallery: Gallery) -> None:
    bucket, key = gallery.objects[LARGE]
    rubble.spoil(bucket, key)
    rubble.set_row(gallery.objects[LARGE], etag=bucket.head(key).etag)  # type: ignore[union-attr]
    assert rubble.audit(app, "--sample", "0")[0] == 0
    code, reported = rubble.audit(app, "--repair", "--sample", "100")
    assert code == 0
    assert [(each["object"], each["kind"]) for each in reported["findings"]] == [(LARGE, "changed")]


def test_an_object_with_another_etag_and_the_same_bytes_is_right(app: Flask, gallery: Gallery) -> None:
    for place in gallery.objects.values():
        rubble.set_row(place, etag='"another"')
    assert rubble.audit(app, "--sample", "0")[0] == 0
    bucket, key = gallery.objects[LARGE]
    assert rubble.row_of((bucket, key)).etag == bucket.head(key).etag  # type: ignore[union-attr]


def test_an_object_that_is_right_again_loses_its_mark(app: Flask, gallery: Gallery) -> None:
    bucket, key = gallery.objects[ORIGINAL]
    data = bucket.get(key) or b""
    bucket.delete(key)
    rubble.audit(app, "--repair")
    assert rubble.damages() == {ORIGINAL: "missing"}
    bucket.put(key, data, "image/jpeg")
    assert rubble.audit(app, "--sample", "0")[0] == 0
    assert rubble.damages() == {}
