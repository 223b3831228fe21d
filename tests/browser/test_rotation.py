"""Photos are rotated by key, menu, button and in bulk; and added without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import Image, Property
from portal.infra import storage
from tests import factories
from tests.browser.pages import Editor, becomes, finished
from tests.factories import Person


@pytest.fixture
def photos(home: Property) -> list[Image]:
    return finished(home, *[f"{n}.jpg" for n in range(6)])


def quarter_turns(home: Property) -> list[int]:
    db.session.rollback()  # end the transaction, to read fresh rows
    return [image.quarter_turns for image in gallery.images(home)]


def becomes_rotated(page: Any, home: Property, *expected: int) -> bool:
    return becomes(page, lambda: quarter_turns(home), [*expected]) == [*expected]


def is_drawn(page: Any, nth: int, width: int, height: int) -> None:
    """Wait until a tile shows its real picture in that shape, no longer rotated by CSS."""
    page.wait_for_function(
        """([nth, width, height]) => {
          const tile = document.querySelectorAll('#photos .tile')[nth], image = tile.querySelector('img');
          return !tile.dataset.turn && image.complete && image.naturalWidth > 0
            && +image.getAttribute('width') === width && +image.getAttribute('height') === height;
        }""",
        arg=[nth, width, height],
    )


def test_r_rotates_immediately_and_then_permanently(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    tile = page.locator("#photos .tile").nth(1)
    tile.locator("a.shot").focus()
    for _ in range(3):
        page.keyboard.press("r")
    page.locator("#photos .tile[data-turn='3']").wait_for()
    assert becomes_rotated(page, home, 0, 3, 0, 0, 0, 0)
    is_drawn(page, 1, 200, 300)
    page.keyboard.press("Shift+R")
    assert becomes_rotated(page, home, 0, 2, 0, 0, 0, 0)
    is_drawn(page, 1, 300, 200)
    assert page.evaluate("document.activeElement.closest('.tile').id") == f"p-{photos[1].uuid}"


@pytest.mark.slow
def test_many_photos_rotate_together_and_back(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    boxes = page.locator("#photos .pick input")
    boxes.nth(0).click()
    boxes.nth(4).click(modifiers=["Shift"])
    page.locator(".bulk").get_by_role("button", name="Rotate").click()
    assert becomes_rotated(page, home, 1, 1, 1, 1, 1, 0)
    for nth in range(5):
        is_drawn(page, nth, 200, 300)
    page.locator(".toast", has_text="Rotated 5 photos.").get_by_role("button", name="Undo").click()
    assert becomes_rotated(page, home, 0, 0, 0, 0, 0, 0)
    is_drawn(page, 4, 300, 200)


@pytest.mark.slow
def test_after_a_refusal_undo_reverts_exactly_the_photos_that_were_rotated(
    editor: Editor, home: Property, photos: list[Image], complaints: list[str]
) -> None:
    """Four photos per request: the second request is refused as a whole."""
    storage.uploads.delete(photos[5].original_key)
    page = editor(home)
    boxes = page.locator("#photos .pick input")
    boxes.nth(0).click()
    boxes.nth(5).click(modifiers=["Shift"])
    page.locator(".bulk").get_by_role("button", name="Rotate").click()
    page.locator(".toast", has_text="The original of this photo is missing").wait_for()
    toast = page.locator(".toast", has_text="Rotated 4 photos.")
    toast.wait_for()
    assert becomes_rotated(page, home, 1, 1, 1, 1, 0, 0)
    for nth, width, height in ((0, 200, 300), (4, 300, 200), (5, 300, 200)):
        is_drawn(page, nth, width, height)
    toast.get_by_role("button", name="Undo").click()
    assert becomes_rotated(page, home, 0, 0, 0, 0, 0, 0)
    is_drawn(page, 3, 300, 200)
    assert ["422" in complaint for complaint in complaints] == [True]
    complaints.clear()


@pytest.mark.slow
def test_the_menu_and_the_opened_photo_rotate_too(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    page.locator("#photos .tile").nth(2).hover()
    page.locator("#photos .more").nth(2).click()
    page.get_by_role("menuitem", name="Rotate right").click()
    assert becomes_rotated(page, home, 0, 0, 1, 0, 0, 0)
    is_drawn(page, 2, 200, 300)
    page.locator("#photos a.shot").nth(0).click()
    page.locator("#photo").get_by_role("button", name="Rotate left").click()
    assert becomes_rotated(page, home, 3, 0, 1, 0, 0, 0)
    is_drawn(page, 0, 200, 300)


@pytest.mark.slow
def test_without_javascript_photos_are_rotated_and_added(
    tab: Callable[..., Any],
    sign_in: Callable[[Any, Person], None],
    alice: Person,
    home: Property,
    photos: list[Image],
    tmp_path: Path,
) -> None:
    page = tab(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(f"/properties/{home.uuid}/photos")
    page.locator("#photos .pick input").nth(1).check()
    page.locator(".bulk").get_by_role("button", name="Rotate").click()
    assert quarter_turns(home) == [0, 1, 0, 0, 0, 0]
    (tmp_path / "new.jpg").write_bytes(factories.jpeg(120, 80))
    page.get_by_role("link", name="Add photos").click()
    page.get_by_label("Photos", exact=True).set_input_files(tmp_path / "new.jpg")
    page.get_by_role("button", name="Add photos").click()
    page.wait_for_url(f"**/properties/{home.uuid}/photos")
    assert page.locator("#photos .tile").count() == 7
    db.session.rollback()
    assert gallery.images(home)[-1].file_name == "new.jpg"
