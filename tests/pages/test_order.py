"""Order and cover through the gallery editor's form."""

from __future__ import annotations

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import Image, Property
from portal.images.order import reorder
from tests.factories import Person
from tests.pages.conftest import FRAGMENT, names


def move(person: Person, home: Property, headers: dict[str, str] | None = None, **fields: object):  # type: ignore[no-untyped-def]
    return person.browser().post(f"/properties/{home.uuid}/photos/order", data=fields, headers=headers or FRAGMENT)


def test_a_move_is_saved_and_shows_the_time(alice: Person, home: Property, photos: list[Image]) -> None:
    answer = move(alice, home, id=photos[0].uuid, after=photos[2].uuid, version=0)
    assert answer.status_code == 200
    assert "Saved <time" in answer.text
    assert names(home) == "1203"


def test_an_id_may_be_written_in_any_case(alice: Person, home: Property, photos: list[Image]) -> None:
    first, second, third = (str(photo.uuid).upper() for photo in photos[:3])
    assert move(alice, home, id=first, after=third).status_code == 200
    assert names(home) == "1203"
    assert move(alice, home, id=second, position=2).status_code == 200
    assert names(home) == "2103"
    assert move(alice, home, id=first, do="cover").status_code == 200
    assert names(home) == "0213"


def test_an_old_version_is_not_refused(alice: Person, home: Property, photos: list[Image]) -> None:
    for _ in range(2):
        assert move(alice, home, id=photos[3].uuid, after="", version=0).status_code == 200
    assert names(home) == "3012"


def test_the_response_carries_the_new_version(alice: Person, home: Property, photos: list[Image]) -> None:
    answer = move(alice, home, id=photos[0].uuid, after=photos[2].uuid)
    db.session.rollback()
    assert f'data-version="{home.gallery_version}" data-own' in answer.text


POSITIONS = [("1", "2013"), ("3", "0123"), ("99", "0132"), ("0", "2013"), ("x", "0132"), ("9" * 99, "0132")]


def test_a_photo_is_moved_to_a_position(
    alice: Person, home: Property, photos: list[Image], subtests: pytest.Subtests
) -> None:
    for position, order in POSITIONS:
        reorder(home, [str(photo.uuid) for photo in photos])
        with subtests.test(position=position):
            assert move(alice, home, id=photos[2].uuid, position=position).status_code == 200
            assert names(home) == order


def test_a_photo_becomes_the_cover(alice: Person, home: Property, photos: list[Image]) -> None:
    move(alice, home, id=photos[2].uuid, position="3", do="cover")
    assert names(home) == "2013"
    assert gallery.images(home)[0].is_main


def test_without_htmx_a_move_redirects_to_the_photo(alice: Person, home: Property, photos: list[Image]) -> None:
    answer = move(alice, home, {"Accept": "text/html"}, id=photos[0].uuid, position="2")
    assert answer.status_code == 303
    assert answer.location == f"/properties/{home.uuid}/photos#p-{photos[0].uuid}"


def test_moving_a_deleted_photo_returns_the_current_gallery(alice: Person, home: Property, photos: list[Image]) -> None:
    gone = "00000000-0000-4000-8000-000000000000"
    for fields in ({"id": gone}, {"id": photos[0].uuid, "after": gone}, {"id": gone, "position": "2"}, {}):
        answer = move(alice, home, **fields)
        assert answer.status_code == 409
        assert answer.text.lstrip().startswith('<section class="gallery" id="gallery"')
        assert "That photo no longer exists" in answer.headers["HX-Trigger"]
    assert move(alice, home, {"Accept": "text/html"}, id=gone).status_code == 409
    assert names(home) == "0123"
