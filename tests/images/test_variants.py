"""Variants: made once, safe to repeat, and a failure is described in words."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow

from portal.db import db
from portal.errors import StorageFailed
from portal.images import originals, properties, variants
from portal.images.models import Image, Property
from portal.images.variants import lifecycle
from portal.infra import jobs, storage
from portal.inventory import digest
from portal.pixels import rejection
from portal.pixels.rejection import RejectedFile
from portal.work import work
from tests import factories
from tests.buckets import Buckets


def opened(key: str | None) -> Pillow.Image:
    data = key and storage.cdn.get(key)
    assert data, f"{key} is missing"
    return Pillow.open(BytesIO(data))


def corrupted(home: Property) -> Image:
    """A JPEG with valid headers whose pixels end early: the decoder rejects it."""
    image = factories.photo_in(home)
    give_original(image, factories.jpeg()[:400] + b"\xff\xd9")
    return image


def give_original(image: Image, data: bytes) -> None:
    """Store other bytes as an image's original, as if they had been uploaded."""
    storage.uploads.put(image.original_key, data, "image/jpeg")
    with work():
        image.sha256 = digest(data)


def test_a_ready_image_has_a_large_and_a_thumb_under_the_contracts_keys(
    home: Property, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home, factories.jpeg(2100, 1400))
    assert work_off() == 1
    db.session.rollback()
    assert (image.variants, image.pending_since, image.failure_reason) == ("ready", None, None)
    assert image.large_key
    assert image.large_key.startswith(f"properties/{home.id}/")
    assert image.large_key.endswith("-lg.webp")
    assert image.thumb_key == image.large_key.replace("-lg.webp", "-thumb.webp")
    assert opened(image.large_key).size == (2048, 1365)
    assert opened(image.thumb_key).size == (480, 320)
    assert -(2**19) <= (image.placeholder or 0) < 2**19


def test_a_small_photo_is_never_enlarged(home: Property, work_off: Callable[[], int]) -> None:
    image = factories.photo_in(home, factories.jpeg(300, 200))
    work_off()
    db.session.rollback()
    assert opened(image.large_key).size == opened(image.thumb_key).size == (300, 200)


def test_a_second_run_changes_nothing(home: Property, work_off: Callable[[], int], buckets: Buckets) -> None:
    image = factories.photo_in(home)
    work_off()
    before = buckets.listing()
    variants.make(image.id)
    assert buckets.listing() == before


def test_two_concurrent_runs_leave_one_pair_of_variants(
    home: Property, at_once: Callable[..., list[Any]], buckets: Buckets
) -> None:
    image = factories.photo_in(home)
    assert at_once(variants.make, *[(image.id,)] * 4) == [None] * 4
    assert buckets.listing() == {
        ("frontage-uploads", image.original_key),
        ("frontage-cdn", image.large_key),
        ("frontage-cdn", image.thumb_key),
    }


def test_an_image_deleted_meanwhile_leaves_nothing(home: Property, buckets: Buckets) -> None:
    image_id = factories.photo_in(home).id
    properties.delete(home)
    variants.make(image_id)
    assert buckets.listing() == set()


def test_pixels_that_cannot_be_decoded_leave_a_sentence_on_the_row(home: Property, buckets: Buckets) -> None:
    image = corrupted(home)
    before = buckets.listing()
    variants.make(image.id)
    assert image.variants == "failed"
    assert image.failure_reason
    assert image.failure_reason.endswith(".")
    assert buckets.listing() == before


def test_a_failed_image_can_be_retried(home: Property, work_off: Callable[[], int]) -> None:
    image = corrupted(home)
    variants.make(image.id)
    give_original(image, factories.jpeg())
    variants.try_again(image)
    assert (image.variants, image.failure_reason, image.attempts) == ("pending", None, 0)
    work_off()
    db.session.rollback()
    assert image.variants == "ready"


def test_a_retry_leaves_a_finished_image_alone(home: Property, work_off: Callable[[], int]) -> None:
    image = factories.photo_in(home)
    work_off()
    db.session.rollback()
    variants.try_again(image)
    assert image.variants == "ready"
    assert jobs.queue(jobs.PIXELS).count == 0


def test_a_missing_original_is_reported(home: Property) -> None:
    image = factories.photo_in(home)
    storage.uploads.delete(image.original_key)
    variants.make(image.id)
    assert image.failure_reason == originals.LOST["missing"]


def test_a_photo_that_kills_its_worker_each_time_is_given_up(home: Property) -> None:
    """Attempts are incremented before the work, so crashes count too."""
    image = factories.photo_in(home)
    for _ in range(lifecycle.MAX_ATTEMPTS):
        assert lifecycle._start(image), "killed right here"
    variants.make(image.id)
    assert (image.variants, image.failure_reason) == ("failed", lifecycle.TRIED_TOO_OFTEN)


def test_an_unavailable_bucket_costs_no_attempt(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from portal.config import settings

    image = factories.photo_in(home)
    storage.connect(replace(settings(), s3_endpoint_url="http://127.0.0.1:9"))
    try:
        with pytest.raises(StorageFailed):
            variants.make(image.id)
    finally:
        storage.connect(settings())
    assert (image.variants, image.attempts) == ("pending", 0)
    variants.make(image.id)
    assert image.variants == "ready"


def test_after_a_flushall_every_waiting_image_is_enqueued_again(
    home: Property, monkeypatch: pytest.MonkeyPatch, work_off: Callable[[], int]
) -> None:
    for _ in range(3):
        factories.photo_in(home)
    jobs.connection().flushall()
    assert variants.enqueue_missing() == 0, "the job of a new image is on its way"
    monkeypatch.setattr(lifecycle, "LATE_AFTER", timedelta(0))
    assert variants.enqueue_missing() == 3
    assert work_off() == 3
    assert variants.enqueue_missing() == 0


def test_all_failed_images_of_a_workspace_can_be_retried(home: Property, charlie: factories.Person) -> None:
    mine, foreign = factories.photo_in(home), factories.photo_in(factories.home_of(charlie.workspace))
    with work():
        for image in (mine, foreign):
            image.variants, image.pending_since, image.failure_reason = "failed", None, "It broke."
    assert variants.try_all_again(home.workspace) == 1
    assert (mine.variants, foreign.variants) == ("pending", "failed")


def test_a_photo_whose_check_is_killed_is_tried_again_but_not_for_ever(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = factories.photo_in(home)
    with monkeypatch.context() as patched:
        patched.setattr(lifecycle, "inspect", _interrupted)
        for _ in range(lifecycle.MAX_ATTEMPTS - 1):
            with pytest.raises(RejectedFile):
                variants.make(image.id)
            assert image.variants == "pending"
        variants.make(image.id)
    assert (image.variants, image.failure_reason) == ("failed", rejection.interrupted().message)
    variants.try_again(image)
    variants.make(image.id)
    assert image.variants == "ready"


def _interrupted(_: bytes) -> None:
    raise rejection.interrupted()
