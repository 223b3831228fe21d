"""The gallery editor: the page, one photo, its description, and polling."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import urljoin

import pytest
from sqlalchemy import event

from portal.db import db
from portal.images import gallery, properties
from portal.images.models import FAILED, PENDING, Image, Property
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.pages.conftest import FRAGMENT, gallery_url

SHOT = re.compile(r'<a class="shot" href="([^"]+)"')


@pytest.fixture
def image(home: Property) -> Image:
    """A photo that is still being processed."""
    return factories.photo_in(home, name="hall.jpg")


def test_the_sheet_shows_the_photos_in_order(alice: Person, home: Property) -> None:
    images = [factories.photo_in(home, name=f"{n}.jpg") for n in range(3)]
    page = alice.browser().get(gallery_url(home)).text
    places = [page.index(f'id="p-{image.uuid}"') for image in images]
    assert places == sorted(places)
    assert "<b>3</b> of 20 photos" in page


def test_a_photo_can_be_opened_by_its_address(alice: Person, home: Property, image: Image) -> None:
    page = alice.browser().get(f"{gallery_url(home)}?photo={image.uuid}").text
    assert '<dialog class="dialog dialog-l" id="photo" aria-labelledby="photo-t" hx-sync="this:replace" open>' in page
    assert "hall.jpg" in page


def test_a_link_to_a_photo_works_wherever_the_sheet_is_drawn(alice: Person, home: Property, image: Image) -> None:
    """Without the path on the gallery's page; with it where another URL shows the gallery."""
    browser, there = alice.browser(), f"{gallery_url(home)}?photo={image.uuid}"
    pages = {
        gallery_url(home): browser.get(gallery_url(home)),
        f"{gallery_url(home)}?f=alt": browser.get(f"{gallery_url(home)}?f=alt"),
        f"{gallery_url(home)}/import": browser.get(f"{gallery_url(home)}/import"),
        f"{gallery_url(home)}/{image.uuid}": browser.post(f"{gallery_url(home)}/{image.uuid}", data={"alt": "x" * 501}),
    }
    for path, page in pages.items():
        (link,) = SHOT.findall(page.text)
        assert urljoin(path, link.replace("&amp;", "&")) == there.replace("?", "?f=alt&" if "f=alt" in path else "?")


def test_an_unknown_photo_is_404(alice: Person, home: Property) -> None:
    other = factories.photo_in(factories.home_of(alice.workspace, "Elm House"))
    browser = alice.browser()
    for uuid in ("nonsense", "00000000-0000-4000-8000-000000000000", other.uuid):
        assert browser.get(f"{gallery_url(home)}?photo={uuid}").status_code == 404


def test_htmx_gets_the_region_and_not_the_page(alice: Person, home: Property, image: Image) -> None:
    browser = alice.browser()
    fragment = browser.get(f"{gallery_url(home)}?f=alt", headers=FRAGMENT).text
    photo = browser.get(f"{gallery_url(home)}?photo={image.uuid}", headers=FRAGMENT).text
    assert 'id="gallery"' in fragment
    assert "<html" not in fragment
    assert photo.startswith('<div class="viewer"')


def test_the_filter_hides_described_photos(alice: Person, home: Property, image: Image) -> None:
    described = factories.photo_in(home, name="described.jpg")
    gallery.describe(home, str(described.uuid), "A hall")
    page = alice.browser().get(f"{gallery_url(home)}?f=alt").text
    assert f"p-{image.uuid}" in page
    assert f'id="p-{described.uuid}"' not in page


def test_describing_returns_the_tile_and_the_counts(alice: Person, home: Property, image: Image) -> None:
    answer = alice.browser().post(f"{gallery_url(home)}/{image.uuid}", data={"alt": "A hall"}, headers=FRAGMENT)
    assert answer.status_code == 200
    assert answer.text.lstrip().startswith(f'<li class="tile" id="p-{image.uuid}"')
    assert '<hx-partial hx-target="#chips"' in answer.text
    db.session.rollback()
    assert gallery.find(home, str(image.uuid)).alt_text == "A hall"


def test_describing_without_htmx_redirects_to_the_photo(alice: Person, home: Property, image: Image) -> None:
    answer = alice.browser().post(f"{gallery_url(home)}/{image.uuid}?f=alt", data={"alt": "A hall"})
    assert answer.status_code == 303
    assert answer.location == f"{gallery_url(home)}?f=alt#p-{image.uuid}"


def test_a_line_break_counts_as_one_character_as_in_the_browser(alice: Person, home: Property, image: Image) -> None:
    text = "x" * 498 + "\r\n" + "y"
    answer = alice.browser().post(f"{gallery_url(home)}/{image.uuid}", data={"alt": text}, headers=FRAGMENT)
    assert answer.status_code == 200


def test_a_description_that_is_too_long_comes_back_as_typed(
    alice: Person, home: Property, image: Image, subtests: pytest.Subtests
) -> None:
    for headers in ({}, FRAGMENT):
        with subtests.test(headers=headers):
            answer = alice.browser().post(f"{gallery_url(home)}/{image.uuid}", data={"alt": "x" * 501}, headers=headers)
            assert answer.status_code == 422
            assert "x" * 501 in answer.text
            assert 'aria-invalid="true"' in answer.text
            assert ("<html" in answer.text) is not bool(headers)


def test_what_people_write_is_escaped(alice: Person, image: Image) -> None:
    home = properties.update(image.property, {"name": "<script>alert(1)</script>"})
    gallery.describe(home, str(image.uuid), '"><img src=x onerror=alert(1)>')
    page = alice.browser().get(f"{gallery_url(home)}?photo={image.uuid}").text
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_polling_gets_304_until_something_changes(
    alice: Person, home: Property, image: Image, work_off: Callable[[], int]
) -> None:
    browser, url = alice.browser(), f"{gallery_url(home)}/progress?waiting={image.uuid}"
    first = browser.get(url, headers=FRAGMENT)
    assert first.status_code == 200
    assert 'hx-trigger="tick from' in first.text
    seen = FRAGMENT | {"HX-PTag": first.headers["HX-PTag"]}
    assert browser.get(url, headers=seen).status_code == 304
    work_off()
    done = browser.get(url, headers=seen)
    assert done.status_code == 200
    assert f'<hx-partial hx-target="#p-{image.uuid}"' in done.text
    assert 'hx-trigger="slow-tick from' in done.text  # and polling pauses


def test_a_tile_finished_between_two_polls_is_still_delivered(
    alice: Person, home: Property, image: Image, work_off: Callable[[], int]
) -> None:
    work_off()
    factories.photo_in(home)
    browser, url = alice.browser(), f"{gallery_url(home)}/progress"
    tag = browser.get(url, headers=FRAGMENT).headers["HX-PTag"]  # another response told the page this state already
    answer = browser.get(f"{url}?waiting={image.uuid}", headers=FRAGMENT | {"HX-PTag": tag})
    assert f'<hx-partial hx-target="#p-{image.uuid}"' in answer.text


def test_polling_delivers_other_peoples_changes(alice: Person, home: Property, image: Image) -> None:
    browser, url = alice.browser(), f"{gallery_url(home)}/progress?waiting={image.uuid}"
    tag = browser.get(url, headers=FRAGMENT).headers["HX-PTag"]
    factories.photo_in(home)
    answer = browser.get(url, headers=FRAGMENT | {"HX-PTag": tag})
    assert "photos:changed" in answer.headers["HX-Trigger"]
    assert '<hx-partial hx-target="#tab-count" hx-swap="innerHTML">2</hx-partial>' in answer.text


def test_a_failed_photo_is_retried(alice: Person, home: Property, image: Image) -> None:
    with work():
        image.variants, image.failure_reason, image.pending_since = FAILED, "The file is damaged.", None
    browser = alice.browser()
    assert "The file is damaged." in browser.get(gallery_url(home)).text
    answer = browser.post(f"{gallery_url(home)}/{image.uuid}/try-again", headers=FRAGMENT)
    assert 'data-s="proc"' in answer.text
    db.session.rollback()
    assert gallery.find(home, str(image.uuid)).variants == PENDING


def test_the_number_of_statements_does_not_grow_with_the_photos(alice: Person, home: Property, image: Image) -> None:
    browser, address = alice.browser(), gallery_url(home)
    counts = []
    for _ in range(2):
        asked: list[str] = []
        note = partial(_note, asked)
        event.listen(db.engine, "before_cursor_execute", note)
        browser.get(address)
        event.remove(db.engine, "before_cursor_execute", note)
        counts.append(len(asked))
        for _ in range(5):
            factories.photo_in(home, factories.jpeg(30, 20))
    assert counts[0] == counts[1] > 0


def _note(asked: list[str], _connection: object, _cursor: object, statement: str, *_more: object) -> None:
    asked.append(statement)


def test_charlie_cannot_tell_alices_gallery_from_a_missing_one(charlie: Person, home: Property, image: Image) -> None:
    browser, nowhere = charlie.browser(), "00000000-0000-4000-8000-000000000000"
    for method, path in [
        ("GET", "/properties/{home}/photos"),
        ("GET", "/properties/{home}/photos?photo={image}"),
        ("GET", "/properties/{home}/photos/progress"),
        ("POST", "/properties/{home}/photos/{image}"),
        ("POST", "/properties/{home}/photos/{image}/try-again"),
        ("POST", "/properties/{home}/photos/order"),
        ("POST", "/properties/{home}/photos/bulk"),
        ("GET", "/properties/{home}/photos/import"),
        ("POST", "/properties/{home}/photos/import"),
        ("POST", "/properties/{home}/uploads"),
        ("POST", "/properties/{home}/uploads/confirm"),
    ]:
        foreign, absent = (
            browser.open(path.format(home=home_uuid, image=image_uuid), method=method)
            for home_uuid, image_uuid in [(home.uuid, image.uuid), (nowhere, nowhere)]
        )
        assert foreign.status_code == 404, path
        assert foreign.data == absent.data, path


def test_an_opened_address_cannot_inject_a_header(alice: Person, home: Property) -> None:
    photo = factories.photo_in(home)
    path = f"/properties/{home.uuid}/photos/bulk?only=a%0d%0aX:y"
    response = alice.browser().post(path, data={"do": "describe", "ids": str(photo.uuid)})
    assert response.status_code < 500
    assert "X" not in response.headers
