"""Deleting photos in the gallery editor, undo, and describing several in a row."""

from __future__ import annotations

import json

from portal.images import gallery
from portal.images.models import Image, Property
from tests.factories import Person
from tests.pages.conftest import FRAGMENT, gallery_url, names


def test_deleted_photos_are_restored_by_undo(alice: Person, home: Property, photos: list[Image]) -> None:
    browser, chosen = alice.browser(), [str(photos[0].uuid), str(photos[2].uuid)]
    answer = browser.post(f"{gallery_url(home)}/bulk", data={"do": "delete", "photo": chosen}, headers=FRAGMENT)
    toast = json.loads(answer.headers["HX-Trigger"])["toast"]
    assert toast["text"] == "Deleted 2 photos."
    assert "<b>2</b> of 20 photos" in answer.text
    assert names(home) == "13"
    answer = browser.post(toast["undo"], headers=FRAGMENT)
    assert answer.status_code == 200
    assert answer.text.lstrip().startswith('<section class="gallery" id="gallery"')
    assert names(home) == "0123"
    assert gallery.images(home)[0].is_main


def test_there_is_an_undo_without_htmx_too(alice: Person, home: Property, photos: list[Image]) -> None:
    browser = alice.browser()
    answer = browser.post(f"{gallery_url(home)}/bulk", data={"do": "delete", "photo": str(photos[1].uuid)})
    assert answer.status_code == 303
    page = browser.get(answer.location).text
    action = page.partition('id="undo" method="post" action="')[2].partition('"')[0]
    assert browser.post(action).status_code == 303
    assert names(home) == "0123"


def test_a_late_undo_says_so(alice: Person, home: Property, photos: list[Image]) -> None:
    url = f"{gallery_url(home)}/undo/00000000-0000-4000-8000-000000000000"
    answer = alice.browser().post(url, headers=FRAGMENT)
    assert answer.status_code == 404
    assert "too late" in answer.headers["HX-Trigger"]
    assert alice.browser().post(url).status_code == 404


def test_unknown_photos_are_skipped(alice: Person, home: Property, photos: list[Image]) -> None:
    for chosen in ([], ["nonsense"], ["00000000-0000-4000-8000-000000000000"]):
        answer = alice.browser().post(
            f"{gallery_url(home)}/bulk", data={"do": "delete", "photo": chosen}, headers=FRAGMENT
        )
        assert answer.status_code == 200
    assert names(home) == "0123"


def test_selected_photos_are_described_in_a_row(alice: Person, home: Property, photos: list[Image]) -> None:
    browser, chosen = alice.browser(), [str(photos[3].uuid), str(photos[1].uuid)]
    answer = browser.post(f"{gallery_url(home)}/bulk", data={"do": "describe", "photo": chosen})
    assert answer.status_code == 303
    assert answer.location.endswith(f"photo={photos[1].uuid}")  # in the gallery's order
    page = browser.get(answer.location).text
    assert "Save and next" in page
    assert f'id="p-{photos[0].uuid}"' not in page
    query = answer.location.partition("?")[2].partition("&")[0]
    saved = browser.post(f"{gallery_url(home)}/{photos[1].uuid}?{query}", data={"alt": "A hall", "then": "next"})
    assert saved.location.endswith(f"photo={photos[3].uuid}")
    assert "Save and next" not in browser.get(saved.location).text


def test_photos_without_a_description_are_described_in_a_row(
    alice: Person, home: Property, photos: list[Image]
) -> None:
    gallery.describe(home, str(photos[2].uuid), "A garden")
    url = f"{gallery_url(home)}/{photos[1].uuid}?f=alt"
    answer = alice.browser().post(url, data={"alt": "A hall", "then": "next"}, headers=FRAGMENT)
    address = json.loads(answer.headers["HX-Trigger"])["photo:next"]["address"]
    assert address == f"{gallery_url(home)}?f=alt&photo={photos[3].uuid}"
    assert '<hx-partial hx-target="#photo"' in answer.text
    last = f"{gallery_url(home)}/{photos[3].uuid}?f=alt"
    answer = alice.browser().post(last, data={"alt": "A hall", "then": "next"}, headers=FRAGMENT)
    assert str(photos[0].uuid) in answer.headers["HX-Trigger"]  # the photos skipped on the way
    url = f"{gallery_url(home)}/{photos[0].uuid}?f=alt"
    answer = alice.browser().post(url, data={"alt": "A hall", "then": "next"}, headers=FRAGMENT)
    assert "photo:saved" in answer.headers["HX-Trigger"]
