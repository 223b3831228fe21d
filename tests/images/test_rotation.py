"""Rotation: new names everywhere, the old ones gone, and the picture as it should look."""

from collections.abc import Callable
from io import BytesIO

import pytest
from flask import Flask
from PIL import Image as Pillow
from sqlalchemy import select

from portal.db import db
from portal.errors import Invalid
from portal.images import deletion, edit
from portal.images.edit import Change
from portal.images.models import Image, Property, Rendition
from portal.images.variants import renditions
from portal.infra import storage
from tests import factories
from tests.conftest import BOTH, MATRIX, Buckets
from tests.images.galleries import assert_whole, finished, now_in, rows_of
from tests.images.test_variants import corrupted, give_original

WIDE = factories.jpeg(64, 48)  # dark at the top, light at the bottom
ACCEPTS = frozenset({"image/webp"})


@pytest.fixture
def one(home: Property) -> Image:
    """A finished image with one rendition."""
    edit.apply(home, Change(added=[edit.AddedFile(lambda: WIDE, "a.jpg")]))
    (image,) = now_in(home)
    renditions.best(image, ACCEPTS, 320)
    return image


def now_home(home: Property) -> Property:
    return db.session.get_one(Property, home.id)


def dark_side(data: bytes) -> str:
    """Where the gradient begins."""
    grey = Pillow.open(BytesIO(data)).convert("L")
    w, h = grey.size
    middle = {"top": (w // 2, 1), "bottom": (w // 2, h - 2), "left": (1, h // 2), "right": (w - 2, h // 2)}
    return min(middle, key=lambda side: int(grey.getpixel(middle[side])))  # type: ignore[arg-type]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
@pytest.mark.parametrize(
    ("quarter_turns", "side"),
    [
        (1, "right"),
        pytest.param(2, "bottom", marks=pytest.mark.slow),
        pytest.param(3, "left", marks=pytest.mark.slow),
    ],
)
def test_a_rotated_photo_has_new_names_and_its_old_ones_are_gone(
    app: Flask, home: Property, one: Image, buckets: Buckets, quarter_turns: int, side: str
) -> None:
    client, before, old_key = app.test_client(), buckets.listing(), one.key
    assert dark_side(client.get(f"/{old_key}", headers={"Accept": "image/webp"}).data) == "top"
    edit.rotate(home, [str(one.uuid)], quarter_turns)
    (image,) = now_in(home)
    gone = before - buckets.listing()
    assert gone == before - {(storage.uploads.name, image.original_key)}, "all but the original"
    for path in [f"/{old_key}", f"/{old_key}?w=320", *(f"/cdn/{key}" for _, key in gone)]:
        assert client.get(path).status_code == 404, path
    for path in [f"/{image.key}", f"/{image.key}?w=320", f"/cdn/{image.large_key}", f"/cdn/{image.thumb_key}"]:
        shown = client.get(path, headers={"Accept": "image/webp"})
        assert (shown.status_code, dark_side(shown.data)) == (200, side), path
    assert (image.width, image.height) == ((48, 64) if quarter_turns % 2 else (64, 48))
    assert_whole(home, buckets)


def test_four_quarter_turns_restore_the_photo(home: Property, one: Image) -> None:
    large = storage.cdn.get(str(one.large_key))
    for _ in range(4):
        edit.rotate(home, [str(one.uuid).upper()], 1)
    (image,) = now_in(home)
    assert (image.quarter_turns, image.version, storage.cdn.get(str(image.large_key))) == (0, 5, large)


def test_rotation_leaves_other_photos_to_their_workers_and_skips_deleted_ones(
    home: Property, one: Image, at_once: Callable[..., list[object]]
) -> None:
    waiting, going = factories.photo_in(home, WIDE), factories.photo_in(home, WIDE)
    uuids = [str(one.uuid), str(going.uuid)]
    said = at_once(
        lambda act: act(),
        (lambda: edit.rotate(now_home(home), uuids, 1),),
        (lambda: deletion.delete(now_home(home), [str(going.uuid)]),),
    )
    assert not [each for each in said if isinstance(each, Exception)]
    assert [(image.uuid, image.quarter_turns, image.variants) for image in now_in(home)] == [
        (one.uuid, 1, "ready"),
        (waiting.uuid, 0, "pending"),
    ]


def test_a_rotation_clears_the_measured_duration_of_the_job(home: Property, work_off: Callable[[], int]) -> None:
    image = factories.photo_in(home, WIDE)
    work_off()
    assert image.started_at and image.ready_at
    edit.rotate(home, [str(image.uuid)], 1)
    (image,) = now_in(home)
    assert (image.started_at, image.variants) == (None, "ready")


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_pending_photo_is_rotated_and_its_worker_has_nothing_left_to_do(
    home: Property, buckets: Buckets, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home, WIDE)
    edit.rotate(home, [str(image.uuid)], 1)
    (image,) = now_in(home)
    assert (image.variants, image.quarter_turns, image.pending_since) == ("ready", 1, None)
    before, objects = rows_of(home.id), buckets.listing()
    work_off()
    assert (rows_of(home.id), buckets.listing()) == (before, objects)


def test_a_failed_photo_can_be_rotated_only_if_its_file_is_valid(
    home: Property, buckets: Buckets, work_off: Callable[[], int]
) -> None:
    image = corrupted(home)
    work_off()
    before, objects = rows_of(home.id), buckets.listing()
    assert image.variants == "failed"
    with pytest.raises(Invalid):
        edit.rotate(home, [str(image.uuid)], 1)
    assert (rows_of(home.id), buckets.listing()) == (before, objects)
    give_original(image, WIDE)
    edit.rotate(home, [str(image.uuid)], 1)
    (image,) = now_in(home)
    assert (image.variants, image.quarter_turns, image.failure_reason) == ("ready", 1, None)
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_rotated_photo_that_was_deleted_is_restored_rotated(
    app: Flask, home: Property, one: Image, buckets: Buckets, work_off: Callable[[], int]
) -> None:
    edit.rotate(home, [str(one.uuid)], 1)
    key = now_in(home)[0].key
    token = deletion.delete(home, [str(one.uuid)], undoable=True).undo_token
    assert app.test_client().get(f"/{key}").status_code == 404
    deletion.undelete(home, str(token))
    assert dark_side(app.test_client().get(f"/{key}").data) == "right", "from its original"
    work_off()
    (image,) = now_in(home)
    assert (image.key, image.quarter_turns, image.width, image.height) == (key, 1, 48, 64)
    assert dark_side(storage.cdn.get(str(image.large_key)) or b"") == "right"
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_renditions_made_during_a_rotation_leave_nothing(
    home: Property, one: Image, buckets: Buckets, at_once: Callable[..., list[object]]
) -> None:
    image_id, uuid = one.id, str(one.uuid)

    def do(width: int, property_id: int) -> None:
        if width:
            renditions.best(db.session.get_one(Image, image_id), ACCEPTS, width)
        else:
            edit.rotate(db.session.get_one(Property, property_id), [uuid], 1)

    at_once(do, *[(width, home.id) for width in (0, 480, 640, 960, 1280)])
    (image,) = now_in(home)
    assert set(db.session.scalars(select(Rendition.version))) <= {image.version} == {2}
    assert_whole(home, buckets)


def test_photos_of_other_workspaces_are_skipped(home: Property, one: Image, charlie: factories.Person) -> None:
    foreign = factories.home_of(charlie.workspace)
    finished(foreign, 1)
    before = rows_of(foreign.id), rows_of(home.id)
    edit.rotate(home, [str(now_in(foreign)[0].uuid), "nonsense"], 1)
    assert (rows_of(foreign.id), rows_of(home.id)) == before
