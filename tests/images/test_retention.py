"""Retention: expired objects are deleted, and nothing that a row names ever is."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from portal import inventory, orphans
from portal.db import db, now
from portal.images import deletion, keys, retention, uploads
from portal.images.models import Property, Upload
from portal.images.uploads import AnnouncedFile
from portal.images.variants import renditions
from portal.infra import storage
from portal.inventory import LARGE, REPLACED_KEPT, StoredObject
from portal.work import work
from tests import factories
from tests.buckets import Buckets, collect_orphans

AT_ONCE = timedelta(seconds=-5)


def test_an_upload_that_was_never_confirmed_is_deleted_with_its_object(home: Property, buckets: Buckets) -> None:
    factories.uploaded(home, factories.jpeg())
    kept = factories.uploaded(home, factories.jpeg())
    with work():
        late = update(Upload).where(Upload.key != kept.key).values(expires_at=now() - timedelta(seconds=1))
        db.session.execute(late)
    assert retention.expire_uploads() == 1
    assert buckets.listing() == {("frontage-uploads", kept.key)}
    assert uploads.confirm(home, [kept])[0].is_new


@pytest.mark.parametrize(
    ("count", "batch"),
    [(45, 20), pytest.param(10_000, retention.BATCH, marks=[pytest.mark.storm, pytest.mark.timeout(300)])],
)
def test_ten_thousand_unused_presigns_expire(
    home: Property, monkeypatch: pytest.MonkeyPatch, count: int, batch: int
) -> None:
    monkeypatch.setattr(retention, "BATCH", batch)
    with work():
        db.session.add_all(
            Upload(
                property_id=home.id,
                key=f"images/{n}.jpg",
                file_name="a.jpg",
                content_type="image/jpeg",
                size_bytes=1,
                expires_at=now() - timedelta(hours=1),
            )
            for n in range(count)
        )
    assert retention.expire_uploads() == count
    assert db.session.scalar(select(func.count(Upload.id))) == 0


def test_only_objects_that_no_row_names_are_collected(
    home: Property, work_off: Callable[[], int], buckets: Buckets
) -> None:
    image = factories.photo_in(home, factories.jpeg(680, 510))
    work_off()
    db.session.rollback()
    rendition = renditions.best(image, frozenset({"image/webp"}), 640)
    awaited = factories.uploaded(home, factories.jpeg())
    alive = buckets.listing()
    storage.uploads.put(f"images/{home.uuid}/orphan.jpg", b"x", "image/jpeg")
    storage.cdn.put("properties/1/orphan-lg.webp", b"x", "image/webp")
    assert sorted(collect_orphans()) == [
        f"images/{home.uuid}/orphan.jpg",
        "properties/1/orphan-lg.webp",
    ]
    assert buckets.listing() == alive
    assert {rendition.key, image.large_key, image.thumb_key, image.original_key, awaited.key} == {k for _, k in alive}


def test_the_record_of_an_old_import_is_deleted_and_its_photos_stay(home: Property) -> None:
    from portal.images import gallery, imports
    from portal.images.models import ImportJob

    factories.photo_in(home)
    for _ in range(2):
        imports.start(home, ["https://photos.example/a.jpg"])
    with work():
        first = select(func.min(ImportJob.id)).scalar_subquery()
        db.session.execute(
            update(ImportJob).where(ImportJob.id == first).values(completed_at=now() - timedelta(days=91))
        )
    assert retention.delete_old_imports() == 1
    assert db.session.scalar(select(func.count(ImportJob.id))) == 1
    assert gallery.quota(home).used == 1


def test_a_second_put_through_a_used_url_is_collected(home: Property, buckets: Buckets) -> None:
    data = factories.jpeg()
    (upload,) = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", len(data))])
    url = uploads.url_of(upload)
    factories.put(url, data, "image/jpeg")
    ((image, _),) = uploads.confirm(home, [uploads.UploadedFile(upload.key, "image/jpeg", len(data))])
    factories.put(url, data, "image/jpeg")
    assert collect_orphans() == [upload.key]
    assert buckets.listing() == {("frontage-uploads", image.original_key)}


def test_a_replaced_object_is_given_up_after_a_month_but_its_address_redirects(
    home: Property, buckets: Buckets, app: Flask, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home)
    work_off()
    old_key, new_key = image.large_key or "", str(image.large_key).replace("-lg", "0-lg")
    with work() as w:
        w.put(storage.cdn, new_key, b"another encoder's", "image/webp", LARGE)
        image.large_key = new_key
        inventory.replace(storage.cdn, old_key, new_key)
    assert retention.expire_replaced() == 0
    with work():
        long_ago = now() - REPLACED_KEPT - timedelta(hours=1)
        db.session.execute(update(StoredObject).where(StoredObject.key == old_key).values(replaced_at=long_ago))
    assert (retention.expire_replaced(), retention.expire_replaced()) == (1, 0)
    assert orphans.collect() == 1
    assert ("frontage-cdn", old_key) not in buckets.listing()
    response = app.test_client().get(f"/cdn/{old_key}")
    assert (response.status_code, response.location) == (308, keys.cdn_url(new_key))
    deletion.delete(home, [str(image.uuid)])
    assert app.test_client().get(f"/cdn/{old_key}").status_code == 404
