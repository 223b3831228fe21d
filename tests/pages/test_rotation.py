"""Rotating photos in the gallery editor: one or many, with htmx and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image as Pillow

from portal.db import db
from portal.images import gallery, originals
from portal.images.models import Image, Property
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.pages.conftest import FRAGMENT


@pytest.fixture
def photos(home: Property, work_off: Callable[[], int]) -> list[Image]:
    images = [factories.photo_in(home, factories.jpeg(60, 40), name=f"{n}.jpg") for n in range(3)]
    work_off()
    return images


def url_of(home: Property, end: str = "rotate") -> str:
    return f"/properties/{home.uuid}/photos/{end}"


def sizes(home: Property) -> list[tuple[int, int]]:
    db.session.rollback()
    return [(image.width, image.height) for image in gallery.images(home)]


def stored_size(image: Image) -> tuple[int, int]:
    return Pillow.open(BytesIO(storage.cdn.get(image.large_key or "") or b"")).size


def test_selected_photos_are_rotated_and_their_tiles_returned(
    alice: Person, home: Property, photos: list[Image]
) -> None:
    chosen, old_url = [str(photos[0].uuid), str(photos[2].uuid)], photos[0].key
    answer = alice.browser().post(url_of(home), data={"photo": chosen, "turns": "1"}, headers=FRAGMENT)
    assert answer.status_code == 200
    assert sizes(home) == [(40, 60), (60, 40), (40, 60)]
    assert answer.text.count('hx-target="#p-') == 2
    assert "data-own" in answer.text
    assert old_url not in answer.text and gallery.images(home)[0].key in answer.text
    assert stored_size(gallery.images(home)[0]) == (40, 60)


def test_quarter_turns_add_up_and_four_are_none(alice: Person, home: Property, photos: list[Image]) -> None:
    before = storage.cdn.get(photos[0].large_key or "")
    for quarters in (1, 2, 1):
        alice.browser().post(
            url_of(home), data={"photo": str(photos[0].uuid), "turns": str(quarters)}, headers=FRAGMENT
        )
    db.session.rollback()
    image = gallery.images(home)[0]
    assert image.quarter_turns == 0 and image.version == 4
    assert storage.cdn.get(image.large_key or "") == before


def test_the_buttons_work_without_htmx(
    alice: Person, home: Property, photos: list[Image], subtests: pytest.Subtests
) -> None:
    for photo, button, quarter_turns in ((photos[1], "rotate", [0, 1, 0]), (photos[2], "rotate-left", [0, 1, 3])):
        with subtests.test(button=button):
            answer = alice.browser().post(url_of(home, "bulk"), data={"do": button, "photo": str(photo.uuid)})
            assert (answer.status_code, answer.location) == (303, f"{url_of(home, '')[:-1]}#p-{photo.uuid}")
            db.session.rollback()
            assert [image.quarter_turns for image in gallery.images(home)] == quarter_turns


def test_a_photo_that_cannot_be_rotated_stays_as_it_is(
    alice: Person, home: Property, photos: list[Image], buckets: Buckets
) -> None:
    with work() as w:
        w.drop(storage.uploads, photos[1].original_key)
    before = buckets.listing()
    chosen = [str(image.uuid) for image in photos]
    answer = alice.browser().post(url_of(home), data={"photo": chosen, "turns": "1"}, headers=FRAGMENT)
    assert answer.status_code == 422
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["text"] == (
        f"No photo was rotated. 1.jpg: {originals.LOST['missing']}"
    )
    assert sizes(home) == [(60, 40)] * 3
    assert buckets.listing() == before


def test_a_failing_bucket_is_reported_as_such(alice: Person, home: Property, photos: list[Image]) -> None:
    data = {"photo": str(photos[0].uuid), "turns": "1"}
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == "PUT" else None
        answer = alice.browser().post(url_of(home), data=data, headers=FRAGMENT)
        page = alice.browser().post(url_of(home), data=data)
    assert (answer.status_code, page.status_code) == (503, 503)
    assert answer.text.startswith("No photo was rotated. The photo storage")
    assert "No photo was rotated. The photo storage" in page.text
    assert sizes(home)[0] == (60, 40)


def test_an_invalid_rotation_changes_nothing(
    alice: Person, home: Property, photos: list[Image], subtests: pytest.Subtests
) -> None:
    browser = alice.browser()
    for quarter_turns in ("4", "-1", "many", "", "1.5", "9" * 5000):
        with subtests.test(quarter_turns=quarter_turns):
            data = {"photo": str(photos[0].uuid), "turns": quarter_turns}
            answer = browser.post(url_of(home), data=data, headers=FRAGMENT)
            assert (answer.status_code, answer.text) == (
                422,
                "A photo can be rotated by 1, 2 or 3 quarter turns clockwise.",
            )
            assert sizes(home)[0] == (60, 40)


def test_an_unknown_photo_is_skipped_and_not_reflected_in_the_address(
    alice: Person, home: Property, photos: list[Image]
) -> None:
    chosen = ["x\ny", str(photos[1].uuid)]
    answer = alice.browser().post(url_of(home), data={"photo": chosen, "turns": "1"})
    assert (answer.status_code, answer.location) == (303, f"{url_of(home, '')[:-1]}#p-{photos[1].uuid}")
    assert sizes(home) == [(60, 40), (40, 60), (60, 40)]


def test_photos_of_other_workspaces_stay_as_they_are(
    charlie: Person, alice: Person, home: Property, photos: list[Image]
) -> None:
    den = factories.home_of(charlie.workspace)
    chosen = {"photo": str(photos[0].uuid), "turns": "1"}
    assert charlie.browser().post(url_of(home), data=chosen, headers=FRAGMENT).status_code == 404
    assert charlie.browser().post(url_of(den), data=chosen, headers=FRAGMENT).status_code == 200
    assert sizes(home) == [(60, 40)] * 3
