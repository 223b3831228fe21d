"""A damaged object is made again when somebody asks for it; nobody gets wrong bytes, or a 404 for a living photo."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.response import StreamingBody
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image as Pillow
from sqlalchemy import select, update

from portal import inventory
from portal.audit import repair
from portal.config import settings
from portal.db import db
from portal.delivery import healing, objects
from portal.images import deletion, keys
from portal.images.models import Image, Property, Rendition
from portal.images.variants import rendering
from portal.infra import storage
from portal.inventory import StoredObject
from portal.pixels.derive import Recipe
from portal.pixels.picture import Picture
from portal.webhooks import events
from portal.work import work
from tests import factories

WEBP = {"Accept": "image/webp,*/*"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(autouse=True)
def forget(app: Flask) -> None:
    """Empty the cache, which other tests have filled with the same pictures."""
    shutil.rmtree(settings().data_dir / "cache", ignore_errors=True)


@pytest.fixture
def image(home: Property, work_off: Callable[[], int]) -> Image:
    image = factories.photo_in(home, factories.jpeg(1600, 1200))
    work_off()
    db.session.rollback()
    return image


def delete(key: str) -> None:
    storage.cdn.delete(key)


def cut(key: str) -> None:
    storage.cdn.put(key, (storage.cdn.get(key) or b"")[:100], "image/webp")


def overwrite(key: str) -> None:
    """With another valid picture."""
    file = BytesIO()
    Pillow.new("RGB", (640, 480), "teal").save(file, "WEBP")
    storage.cdn.put(key, file.getvalue(), "image/webp")


@pytest.fixture(params=[overwrite, *(pytest.param(each, marks=pytest.mark.slow) for each in (delete, cut))])
def damage(request: pytest.FixtureRequest) -> Callable[[str], None]:
    harm: Callable[[str], None] = request.param
    return harm


def cdn_path(key: str | None) -> str:
    return urlsplit(keys.cdn_url(key or "")).path


def path(image: Image, width: int | None = None) -> str:
    url = urlsplit(keys.image_url(image, width))
    return f"{url.path}?{url.query}"


@pytest.mark.parametrize("kind", ["large_key", "thumb_key"])
def test_a_damaged_variant_is_byte_equal_again(
    client: FlaskClient, image: Image, damage: Callable[[str], None], kind: str
) -> None:
    key = getattr(image, kind)
    before = storage.cdn.get(key)
    damage(key)
    assert client.get(cdn_path(key)).data == before
    assert storage.cdn.get(key) == before


def test_a_damaged_rendition_and_its_damaged_source_are_byte_equal_again(
    client: FlaskClient, image: Image, damage: Callable[[str], None]
) -> None:
    before = client.get(path(image, 320), headers=WEBP).data
    key = db.session.scalars(select(Rendition.key)).one()
    shutil.rmtree(settings().data_dir / "cache")
    for each in (key, image.large_key or ""):
        damage(each)
    assert client.get(path(image, 320), headers=WEBP).data == before
    assert storage.cdn.get(key) == before


def test_a_damaged_rendition_is_rendered_once_for_all_who_wait(
    app: Flask, client: FlaskClient, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = client.get(path(image, 320), headers=WEBP).data
    rendition = db.session.scalars(select(Rendition)).one()
    known = inventory.find(storage.cdn, rendition.key)
    assert known
    delete(rendition.key)
    renders: list[object] = []
    derived = rendering.derived
    monkeypatch.setattr(rendering, "derived", lambda *given: renders.append(given) or derived(*given))
    for _ in range(2):  # as two threads that have both found it missing
        assert repair.repair(storage.cdn, known, inventory.MISSING).is_repaired
    assert (len(renders), storage.cdn.get(rendition.key)) == (1, before)


def test_an_object_that_is_larger_than_its_row_says_is_not_read(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = inventory.find(storage.cdn, image.thumb_key or "")
    assert expected
    storage.cdn.put(expected.key, bytes(1_000_000), "image/webp")
    monkeypatch.setattr(StreamingBody, "read", lambda *_: pytest.fail("it was read"))
    assert inventory.damage_in(storage.cdn, expected) == inventory.LENGTH


def test_another_pipeline_gives_a_new_address_and_the_old_one_redirects(
    client: FlaskClient, image: Image, home: Property
) -> None:
    """As after an upgrade of an encoder: the bytes of the row can't be had again."""
    old_key, public_key = image.large_key or "", image.key
    with work():
        db.session.execute(update(StoredObject).where(StoredObject.key == old_key).values(sha256="0" * 64))
    delete(old_key)
    response = client.get(cdn_path(old_key))
    db.session.rollback()
    assert image.large_key != old_key and image.key == public_key
    assert (response.status_code, urlsplit(response.location).path) == (308, cdn_path(image.large_key))
    assert client.get(response.location).status_code == 200
    deletion.delete(home, [str(image.uuid)])
    assert client.get(cdn_path(old_key)).status_code == 404


def test_of_two_who_wait_for_a_new_address_neither_gives_up(client: FlaskClient, image: Image) -> None:
    old_key = image.large_key or ""
    with work():
        db.session.execute(update(StoredObject).where(StoredObject.key == old_key).values(sha256="0" * 64))
    known = inventory.find(storage.cdn, old_key)
    assert known
    delete(old_key)
    for _ in range(2):
        assert repair.repair(storage.cdn, known, inventory.MISSING).is_repaired
    known = inventory.find(storage.cdn, old_key)
    assert known and known.replaced_by and known.damage is None


@pytest.mark.parametrize("kind", ["large_key", "thumb_key"])
def test_garbage_is_recognised_before_the_audit_has_taken_its_hash(
    client: FlaskClient, image: Image, kind: str
) -> None:
    """Rows of releases before the inventory have no hash."""
    key = getattr(image, kind)
    before = storage.cdn.get(key)
    with work():
        unknown = {"sha256": None, "etag": None, "size_bytes": None}
        db.session.execute(update(StoredObject).where(StoredObject.key == key).values(unknown))
    assert client.get(cdn_path(key)).data == before
    storage.cdn.put(key, b"<html>", "text/html")
    response = client.get(path(image, 960), headers=WEBP)
    assert (response.status_code, response.mimetype) == (200, "image/webp")
    assert client.get(cdn_path(key), follow_redirects=True).data == before


def test_a_photo_beyond_repair_is_shown_in_another_width_or_not_at_all(client: FlaskClient, image: Image) -> None:
    assert client.get(path(image, 320), headers=WEBP).status_code == 200
    storage.uploads.delete(image.original_key)
    delete(image.large_key or "")
    response = client.get(path(image), headers=WEBP)
    assert Pillow.open(BytesIO(response.data)).width in (320, 480)
    assert "immutable" not in response.headers["Cache-Control"]
    response = client.get(cdn_path(image.large_key))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    known = inventory.find(storage.cdn, image.large_key or "")
    assert known and known.damage == inventory.MISSING


def test_a_subscriber_is_told_once_of_a_photo_beyond_repair(
    client: FlaskClient, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(events, "emit", lambda w, workspace, event, data: told.append(event))
    storage.uploads.delete(image.original_key)
    delete(image.large_key or "")
    for _ in range(2):
        client.get(cdn_path(image.large_key))
    assert told == [events.IMAGE_DAMAGED]


def test_the_cache_serves_while_the_bucket_is_away_but_no_deleted_photo(
    client: FlaskClient, image: Image, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = cdn_path(image.large_key)
    before = client.get(url).data
    monkeypatch.setattr(storage.Bucket, "read", lambda *_, **__: pytest.fail("the bucket was asked"))
    assert client.get(url).data == before
    monkeypatch.undo()
    deletion.delete(home, [str(image.uuid)])
    assert client.get(url).status_code == 404


def test_a_weak_validator_counts(client: FlaskClient, image: Image) -> None:
    """RFC 9110, section 13.1.2: nginx with gzip and CDNs send `W/"…"`."""
    for url in (cdn_path(image.large_key), path(image)):
        etag = client.get(url, headers=WEBP).headers["ETag"]
        response = client.get(url, headers=WEBP | {"If-None-Match": f"W/{etag}"})
        assert (response.status_code, response.data) == (304, b"")


def test_what_is_small_is_read_from_the_bucket_once(
    client: FlaskClient, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = storage.Bucket.read
    monkeypatch.setattr(storage.Bucket, "read", lambda self, key, **most: reads.append(key) or read(self, key, **most))
    for _ in range(3):
        assert client.get(cdn_path(image.thumb_key)).status_code == 200
    assert reads == [image.thumb_key]
    assert objects.SMALL_BYTES == 4 * 1024 * 1024


@pytest.mark.parametrize("is_rendition", [False, True])
def test_a_photo_that_is_deleted_during_its_repair_stays_deleted(
    client: FlaskClient, image: Image, monkeypatch: pytest.MonkeyPatch, is_rendition: bool
) -> None:
    key, uuid, property_id = image.large_key or "", str(image.uuid), image.property_id
    if is_rendition:
        client.get(path(image, 320), headers=WEBP)
        key = db.session.scalars(select(Rendition.key)).one()
    delete(key)
    derived = rendering.derived

    def slowly(source: bytes, picture: Picture, recipe: Recipe[Any]) -> Any:
        made = derived(source, picture, recipe)
        deletion.delete(db.session.get_one(Property, property_id), [uuid])
        return made

    shutil.rmtree(settings().data_dir / "cache", ignore_errors=True)
    monkeypatch.setattr(rendering, "derived", slowly)
    assert client.get(cdn_path(key)).status_code == 404
    assert storage.cdn.get(key) is None
    assert inventory.find(storage.cdn, key) is None


def test_in_foreign_buckets_nothing_is_made_again(
    client: FlaskClient, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the database doesn't know which photos the owner of the buckets has deleted."""
    delete(image.large_key or "")
    monkeypatch.setattr(healing, "owns_buckets", lambda: False)
    assert client.get(cdn_path(image.large_key)).status_code == 503
    assert storage.cdn.get(image.large_key or "") is None
