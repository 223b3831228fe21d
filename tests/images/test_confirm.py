"""Confirm: an uploaded file becomes an image exactly once, and nobody can change it afterwards."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from portal.db import db, now
from portal.errors import Invalid, NotFound, OverQuota
from portal.images import gallery, properties, uploads
from portal.images.models import Image, Property, Upload
from portal.images.uploads import UploadedFile
from portal.infra import jobs, storage
from portal.work import work
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy


def confirm(home: Property, arrived: UploadedFile) -> Image:
    ((image, _),) = uploads.confirm(home, [arrived], added_by="Alice")
    return image


def images() -> int:
    return db.session.scalar(select(func.count(Image.id))) or 0


def refusal(home: Property, arrived: UploadedFile) -> str:
    with pytest.raises(Invalid) as refused:
        uploads.confirm(home, [arrived])
    return refused.value.code


def test_a_confirmed_upload_becomes_the_last_image_of_its_gallery(home: Property) -> None:
    first = confirm(home, factories.uploaded(home, factories.jpeg(800, 600)))
    arrived = factories.uploaded(home, factories.jpeg(colour=(10, 90, 200)))
    second = confirm(home, UploadedFile(arrived.key, arrived.content_type, arrived.size_bytes, "Pool at dusk"))
    assert [image.uuid for image in gallery.images(home)] == [first.uuid, second.uuid]
    assert str(second.uuid) in arrived.key == second.key  # the API, the pages and the public URL use one id
    assert (first.position, first.is_main, second.position, second.is_main) == (0, True, 1, False)
    assert (first.width, first.height, first.type, first.variants) == (800, 600, "image/jpeg", "pending")
    assert second.alt_text == "Pool at dusk"
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [
        f"make_variants-{first.id}",
        f"make_variants-{second.id}",
    ]


def test_a_confirm_sends_one_request_for_the_uploaded_object(home: Property) -> None:
    """Length, type and bytes come with one response."""
    arrived = factories.uploaded(home, factories.jpeg())
    with bucket_behind_a_proxy() as front:
        confirm(home, arrived)
    assert [asked.method for asked in front.asked] == ["GET", "PUT", "POST"]


def test_the_original_is_stored_under_a_key_that_was_never_presigned(home: Property, buckets: Buckets) -> None:
    data = factories.jpeg()
    arrived = factories.uploaded(home, data)
    image = confirm(home, arrived)
    assert image.original_key != arrived.key
    assert buckets.listing() == {("frontage-uploads", image.original_key)}
    assert storage.uploads.get(image.original_key) == data


KEYS = [
    "{prefix}00000000-0000-4000-8000-000000000000.jpg",
    "{prefix}../../other/x.jpg",
    "{prefix}%2e%2e/x.jpg",
    "/{prefix}x.jpg",
    "{prefix}/x.jpg",
    "other/x.jpg",
    "{prefix}" + "x" * 1025,
    "",
    "\x00",
]


def test_a_key_that_was_never_presigned_is_unknown(home: Property) -> None:
    prefix = f"images/{home.workspace.uuid}/{home.uuid}/"
    said = {key: refusal(home, UploadedFile(key.format(prefix=prefix), "image/jpeg", 10)) for key in KEYS}
    assert said == dict.fromkeys(KEYS, "unknown_key")


def test_keys_of_another_property_or_workspace_are_unknown_too(home: Property, charlie: Person) -> None:
    neighbour = factories.home_of(home.workspace, "Next door")
    foreign = factories.home_of(charlie.workspace)
    for owner in (neighbour, foreign):
        arrived = factories.uploaded(owner, factories.jpeg())
        assert refusal(home, arrived) == "unknown_key"
    assert images() == 0


def test_a_confirm_before_the_put_is_refused_and_works_after_it(home: Property) -> None:
    data = factories.jpeg()
    (upload,) = uploads.presign(home, [uploads.AnnouncedFile("a.jpg", "image/jpeg", len(data))])
    arrived = UploadedFile(upload.key, "image/jpeg", len(data))
    assert refusal(home, arrived) == "not_uploaded"
    factories.put(uploads.url_of(upload), data, "image/jpeg")
    assert confirm(home, arrived).position == 0


def test_a_second_confirm_returns_the_same_image(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    (first,) = uploads.confirm(home, [arrived])
    (again,) = uploads.confirm(home, [arrived])
    assert (first.is_new, again.is_new) == (True, False)
    assert again.image.uuid == first.image.uuid
    assert images() == 1


def test_a_timely_upload_may_be_confirmed_after_the_url_expired(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    with work():
        db.session.execute(update(Upload).values(created_at=now() - timedelta(hours=23)))
    assert confirm(home, arrived).position == 0


def test_a_type_or_size_other_than_presigned_is_refused(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    assert refusal(home, UploadedFile(arrived.key, "image/png", arrived.size_bytes)) == "differs_from_presigned"
    assert refusal(home, UploadedFile(arrived.key, "image/jpeg", arrived.size_bytes + 1)) == "differs_from_presigned"
    assert confirm(home, arrived).position == 0, "an honest confirm still works"


def test_one_invalid_member_refuses_the_batch_and_leaves_nothing(home: Property, buckets: Buckets) -> None:
    good, bad = factories.uploaded(home, factories.jpeg()), factories.uploaded(home, b"not a photo at all")
    with pytest.raises(Invalid) as refused:
        uploads.confirm(home, [good, bad])
    assert refused.value.details == {"index": 1}
    assert (images(), buckets.listing()) == (0, {("frontage-uploads", good.key)})
    assert confirm(home, good).position == 0


def test_deleting_the_property_before_the_confirm_deletes_the_object(
    home: Property, alice: Person, buckets: Buckets
) -> None:
    factories.uploaded(home, factories.jpeg())
    properties.delete(home)
    with pytest.raises(NotFound):
        properties.find(alice.workspace, "1")
    assert buckets.listing() == set()


def test_a_smaller_plan_keeps_existing_photos_and_takes_no_more(home: Property) -> None:
    first = factories.uploaded(home, factories.jpeg(64, 48))
    confirm(home, first)
    with work():
        db.session.add_all(
            Image(
                property_id=home.id,
                key=f"images/{n}",
                original_key=f"images/o{n}",
                file_name="a.jpg",
                type="image/jpeg",
                size_bytes=1,
                width=1,
                height=1,
                sha256="",
                position=n,
            )
            for n in range(1, 20)
        )
    more = UploadedFile("x", "image/jpeg", 1)
    with pytest.raises(OverQuota):
        uploads.presign(home, [uploads.AnnouncedFile("a.jpg", "image/jpeg", 10)])
    assert refusal(home, more) == "unknown_key"
    assert confirm(home, first).position == 0, "a confirmed key returns its image, over quota or not"


NO_PHOTOS = {
    b"<html><script>alert(1)</script></html>": "image/jpeg",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "image/png",
    b"%PDF-1.7 and more": "image/jpeg",
    b"PK\x03\x04 a zip": "image/webp",
    b"\xff\xd8": "image/jpeg",
    b"x": "image/jpeg",
}


def test_bytes_that_are_no_photo_are_refused(home: Property) -> None:
    said = {data: refusal(home, factories.uploaded(home, data, type=type)) for data, type in NO_PHOTOS.items()}
    assert {data: code for data, code in said.items() if len(data) > 2} == {
        data: "not_an_image" for data in NO_PHOTOS if len(data) > 2
    }
    assert images() == 0


def test_a_photo_of_another_type_than_presigned_is_refused_and_deleted(home: Property, buckets: Buckets) -> None:
    arrived = factories.uploaded(home, factories.jpeg(), type="image/png")
    assert refusal(home, arrived) == "content_mismatch"
    assert buckets.listing() == set()


def test_a_description_has_at_most_five_hundred_characters(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    long = UploadedFile(arrived.key, arrived.content_type, arrived.size_bytes, "x" * 501)
    assert refusal(home, long) == "alt_text"
    short = UploadedFile(arrived.key, arrived.content_type, arrived.size_bytes, "x" * 500)
    assert confirm(home, short).alt_text == "x" * 500


def test_the_key_of_a_deleted_image_cannot_be_confirmed_again(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    image = confirm(home, arrived)
    with work():
        db.session.delete(image)
    assert refusal(home, arrived) == "already_used"


def test_confirm_succeeds_while_redis_is_down_and_the_job_is_enqueued_later(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from portal.config import settings
    from portal.images import variants
    from portal.images.variants import lifecycle

    arrived = factories.uploaded(home, factories.jpeg())
    jobs.connect(replace(settings(), redis_url="redis://127.0.0.1:9"))
    try:
        image = confirm(home, arrived)
    finally:
        jobs.connect(settings())
    assert jobs.queue(jobs.PIXELS).count == 0
    monkeypatch.setattr(lifecycle, "LATE_AFTER", timedelta(0))
    assert variants.enqueue_missing() == 1
    assert variants.enqueue_missing() == 0, "a job that is in its queue is not enqueued twice"
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [f"make_variants-{image.id}"]
