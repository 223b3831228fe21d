"""A photo whose original is lost or changed: rotating it is refused in clear words, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal import inventory
from portal.db import now
from portal.images import deletion, edit, originals
from portal.images.models import Image, Property
from portal.images.originals import LOST, OriginalLost
from portal.infra import storage
from portal.inventory import CHANGED, MISSING
from portal.work import work
from tests import factories
from tests.api.manage_images import refused
from tests.buckets import Buckets
from tests.factories import Person
from tests.images.galleries import finished, now_in, rows_of
from tests.pages.conftest import FRAGMENT, gallery_url, statements

__all__ = ["statements"]

SENTENCE = "The original is lost. What you see is the best copy left."


def deleted(key: str) -> None:
    storage.uploads.delete(key)


def overwritten_with_garbage(key: str) -> None:
    storage.uploads.put(key, b"\xff\xd8\xff garbage" * 40, "image/jpeg")


def overwritten_with_another_photo(key: str) -> None:
    storage.uploads.put(key, factories.jpeg(64, 48, (9, 200, 9)), "image/jpeg")


DAMAGES = [(deleted, MISSING), (overwritten_with_garbage, CHANGED), (overwritten_with_another_photo, CHANGED)]


@pytest.fixture
def photos(home: Property) -> list[Image]:
    finished(home, 3)
    return now_in(home)


@pytest.fixture
def unchanged(home: Property, photos: list[Image], buckets: Buckets) -> Callable[[], None]:
    """Return a check: the rows, and the objects with their bytes, are those from before."""
    keys = [str(key) for image in photos for key in (image.large_key, image.thumb_key)]

    def state() -> Any:
        return rows_of(home.id), [storage.cdn.get(key) for key in keys], len(buckets.listing())

    before: list[Any] = []

    def check() -> None:
        before.append(state())
        assert before[0] == before[-1]

    return check


@pytest.mark.parametrize(("damage", "kind"), DAMAGES)
def test_rotating_is_refused_and_variants_and_rows_stay(
    app: Flask,
    alice: Person,
    home: Property,
    photos: list[Image],
    unchanged: Callable[[], None],
    damage: Callable[[str], None],
    kind: str,
) -> None:
    lost, fine = photos[1], photos[2]
    damage(lost.original_key)
    unchanged()
    with pytest.raises(OriginalLost) as problem:
        edit.rotate(home, [str(lost.uuid)], 1)
    assert (problem.value.message, problem.value.damage, problem.value.name) == (LOST[kind], kind, "added.jpg")
    unchanged()
    both = {"existingImageRotations": {str(fine.id): 2, str(lost.id): 1}}
    assert refused(alice.api("PUT", f"/api/properties/{home.id}", json=both), 400) == LOST[kind]
    unchanged()
    one = {"photo": str(lost.uuid), "turns": "1"}
    for headers in (FRAGMENT, {}):
        page = alice.browser().post(f"{gallery_url(home)}/rotate", data=one, headers=headers)
        assert page.status_code == 422
        assert f"No photo was rotated. {LOST[kind]}" in page.text
    unchanged()
    shown = app.test_client().get(f"/{lost.key}", headers={"Accept": "image/webp"})
    assert shown.status_code == 200
    edit.rotate(home, [str(fine.uuid)], 1)
    assert [image.quarter_turns for image in now_in(home)] == [0, 0, 1]


def test_other_changes_to_a_photo_whose_original_is_lost_succeed(
    alice: Person, home: Property, photos: list[Image]
) -> None:
    deleted(photos[0].original_key)
    change = {"imagesMeta": [{"id": photos[0].id, "url": "", "orderIndex": 0, "isMain": True}]}
    change["imagesMeta"][0]["url"] = alice.api("GET", f"/api/properties/{home.id}").json["data"]["images"][0]
    assert alice.api("PUT", f"/api/properties/{home.id}", json=change).status_code == 200
    gone = alice.api("PUT", f"/api/properties/{home.id}", json={"imagesToDelete": [photos[0].id]})
    assert (gone.status_code, len(now_in(home))) == (200, 2)


def test_the_gallery_marks_photos_whose_original_is_lost(
    alice: Person, home: Property, photos: list[Image], statements: Callable[..., int]
) -> None:
    browser, url, first = alice.browser(), gallery_url(home), photos[0]
    assert SENTENCE not in browser.get(url).text
    before = statements(browser.get, url)
    with work():
        inventory.mark(storage.uploads, {photos[1].original_key: MISSING})
        inventory.mark(storage.cdn, {str(photos[0].large_key): CHANGED})
        photos[2].original_restored_at = now() - timedelta(days=2)
    assert originals.lost_among(now_in(home)) == {photos[1].id, photos[2].id}
    assert browser.get(url).text.count(SENTENCE) == 2
    assert statements(browser.get, url) == before
    for image, times in ((first, 2), (photos[1], 3)):  # the tiles behind it, and the opened photo's notice
        assert browser.get(f"{url}?photo={image.uuid}").text.count(SENTENCE) == times


def test_the_mark_of_a_restored_original_survives_deletion_and_undo(
    home: Property, photos: list[Image], work_off: Callable[[], int]
) -> None:
    at = now() - timedelta(days=2)
    with work():
        photos[0].original_restored_at = at
    token = deletion.delete(home, [str(image.uuid) for image in photos[:2]], undoable=True).undo_token
    deletion.undelete(home, str(token))
    work_off()
    assert [image.original_restored_at for image in now_in(home)] == [at, None, None]
