"""SIGKILL at every step of confirm and of the variant job: nothing lost, duplicated, wrong or left behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal import config
from portal.db import db
from portal.images import uploads, variants
from portal.images.models import Image, Property, Upload
from portal.images.uploads import UploadedFile
from portal.images.variants import lifecycle
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.buckets import collect_orphans
from tests.conftest import KILLED, Buckets
from tests.crashes import Steps, dies_at

AT_ONCE = timedelta(seconds=-60)


def confirm(property_id: int, arrived: UploadedFile) -> None:
    uploads.confirm(db.session.get_one(Property, property_id), [arrived], added_by="Alice")


def sweep(work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "LATE_AFTER", timedelta(0))
    variants.enqueue_missing()
    work_off()
    collect_orphans()
    db.session.rollback()


def assert_whole(buckets: Buckets, originals: list[bytes]) -> None:
    """Assert that exactly these photos exist, with their bytes and both variants, and no other object."""
    images = list(db.session.scalars(select(Image).order_by(Image.position)))
    assert [image.position for image in images] == list(range(len(originals)))
    assert [image.is_main for image in images] == [n == 0 for n in range(len(originals))]
    assert [storage.uploads.get(image.original_key) for image in images] == originals
    assert {image.variants for image in images} <= {"ready"}
    awaited = set(db.session.scalars(select(Upload.key).where(Upload.confirmed_at.is_(None))))
    named = {key for image in images for key in (image.original_key, image.large_key, image.thumb_key)}
    assert {key for _, key in buckets.listing()} == named | awaited


@pytest.mark.parametrize("database", KILLED, indirect=True)
def test_a_confirm_killed_at_any_step_is_done_or_can_be_repeated(
    home: Property, buckets: Buckets, work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch, steps: Steps
) -> None:
    data = factories.jpeg(64, 48)
    deaths = 0
    for step in steps:
        arrived = factories.uploaded(home, data)
        lived = dies_at(step, config.settings(), confirm, home.id, arrived)
        db.session.rollback()
        ((image, is_new),) = uploads.confirm(home, [arrived])
        assert not (lived and is_new)
        sweep(work_off, monkeypatch)
        assert_whole(buckets, [data])
        with work() as w:
            w.drop(storage.uploads, image.original_key)
            w.drop(storage.cdn, image.large_key, image.thumb_key)
            db.session.delete(image)
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=15)


@pytest.mark.parametrize("database", KILLED, indirect=True)
def test_a_variant_job_killed_at_any_step_is_finished_by_the_next(
    home: Property, buckets: Buckets, work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch, steps: Steps
) -> None:
    data = factories.jpeg(64, 48)
    image = factories.photo_in(home, data)
    deaths = 0
    for step in steps:
        with work():
            image.variants, image.attempts, image.pending_since = "pending", 0, image.created_at
        lived = dies_at(step, config.settings(), variants.make, image.id)
        db.session.rollback()
        sweep(work_off, monkeypatch)
        assert_whole(buckets, [data])
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=12)
