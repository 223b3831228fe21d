"""A cancelled upload leaves no photo and no object, whether it was confirmed, is being confirmed, or never will be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.errors import Invalid, NotFound
from portal.images import gallery, properties, uploads
from portal.images.models import Property, Upload
from portal.images.uploads import UploadedFile, cancellation
from tests import factories
from tests.conftest import BOTH, Buckets
from tests.factories import Person
from tests.images.galleries import now_in


def test_an_unconfirmed_upload_is_forgotten(home: Property, buckets: Buckets) -> None:
    arrived = factories.uploaded(home, factories.jpeg(), name="hall.jpg")
    assert cancellation.cancel(home, arrived.key) == "hall.jpg"
    assert buckets.listing() == set()
    with pytest.raises(Invalid) as refused:
        uploads.confirm(home, [arrived])
    assert refused.value.code == "unknown_key"
    assert home.gallery_version == 0, "nothing was shown, so nothing has changed"


def test_a_confirmed_photo_is_deleted_and_the_positions_close_up(
    home: Property, buckets: Buckets, work_off: Callable[[], int]
) -> None:
    arrived = factories.uploaded(home, factories.jpeg(), name="hall.jpg")
    uploads.confirm(home, [arrived])
    kept = factories.photo_in(home, factories.jpeg(60, 40))
    work_off()
    assert cancellation.cancel(home, arrived.key) == "hall.jpg"
    assert now_in(home) == [kept]
    assert {key for _, key in buckets.listing()} == {kept.original_key, kept.large_key, kept.thumb_key}
    with pytest.raises(Invalid) as refused:
        uploads.confirm(home, [arrived])
    assert refused.value.code == "already_used"


def test_cancelling_twice_deletes_nothing_else(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    uploads.confirm(home, [arrived])
    kept = factories.photo_in(home)
    for _ in range(2):
        cancellation.cancel(home, arrived.key)
    assert now_in(home) == [kept]


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_cancelling_during_the_confirm_leaves_nothing(
    home: Property, buckets: Buckets, at_once: Callable[..., list[Any]], work_off: Callable[[], int]
) -> None:
    property_id = home.id
    arrived = [factories.uploaded(home, factories.jpeg(64, 48)) for _ in range(4)]

    def act(is_cancel: bool, one: UploadedFile) -> None:
        home = db.session.get_one(Property, property_id)
        if is_cancel:
            cancellation.cancel(home, one.key)
        else:
            uploads.confirm(home, [one])

    answers = at_once(act, *[(is_cancel, one) for one in arrived for is_cancel in (False, True)])
    assert all(answer is None or isinstance(answer, Invalid) for answer in answers), answers
    work_off()
    assert now_in(home) == []
    assert buckets.listing() == set()


def test_an_upload_to_another_property_is_left_alone(home: Property, charlie: Person) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    uploads.confirm(home, [arrived])
    elsewhere = factories.home_of(charlie.workspace)
    for key in (arrived.key, "images/x/y/z.jpg", "nul\0", ""):
        assert cancellation.cancel(elsewhere, key) is None
    assert len(gallery.images(home)) == 1
    assert db.session.query(Upload).count() == 1


def test_in_a_deleted_property_there_is_nothing_to_cancel(home: Property) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    properties.delete(home)
    with pytest.raises(NotFound):
        cancellation.cancel(home, arrived.key)
