"""Photos are selected, deleted and restored, and described in a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import Image, Property
from tests.browser.pages import Editor, becomes_stored, stored
from tests.factories import Person


def picked(page: Any) -> str:
    chosen = "[...document.querySelectorAll('#photos .tile')].map((t, n) => t.querySelector(':checked') ? n : '')"
    return str(page.evaluate(f"{chosen}.join('')"))


def focused(page: Any) -> Any:
    return page.evaluate("document.activeElement.closest('.tile')?.id.slice(2)")


def test_a_range_is_selected_deleted_and_restored(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    boxes = page.locator("#photos .pick input")
    boxes.nth(1).click()
    boxes.nth(4).click(modifiers=["Shift"])
    assert picked(page) == "1234"
    assert page.locator(".bulk").inner_text().startswith("4\nselected") or "4" in page.locator(".bulk p").inner_text()
    page.locator(".bulk").get_by_role("button", name="Delete").click()
    assert page.locator("#photos .tile").count() == 3
    assert focused(page) == str(photos[5].uuid)
    assert page.locator(".bulk").is_hidden()
    page.locator(".toast", has_text="Deleted 4 photos.").wait_for()
    assert becomes_stored(page, home, "056")
    assert page.locator("#chips [data-photo-count]").inner_text() == "3"
    page.keyboard.press("Control+z")
    page.locator("#photos .tile").nth(6).wait_for()
    assert becomes_stored(page, home, "0123456")
    page.locator(".toast", has_text="Restored 4 photos.").wait_for()


def test_the_keyboard_selects_deletes_and_clears(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    page.locator("#photos a.shot").nth(1).focus()
    page.keyboard.press("Space")
    assert picked(page) == "1"
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert picked(page) == "123"
    page.keyboard.press("Escape")
    assert picked(page) == ""
    page.keyboard.press("Control+a")
    assert picked(page) == "0123456"
    page.keyboard.press("Escape")
    page.locator("#photos a.shot").first.focus()
    page.keyboard.press("Delete")
    assert focused(page) == str(photos[1].uuid)
    assert (
        page.locator("#photos .tile").first.get_attribute("data-cover") is not None
    )  # the next photo became the cover
    assert becomes_stored(page, home, "123456")


@pytest.mark.slow
def test_photos_that_cannot_be_deleted_reappear(
    editor: Editor, home: Property, photos: list[Image], complaints: list[str]
) -> None:
    page = editor(home)
    page.route("**/photos/bulk", lambda route: route.fulfill(status=503, body=""))
    page.locator("#photos a.shot").nth(2).focus()
    page.keyboard.press("Delete")
    page.locator("#photos .tile").nth(6).wait_for()
    assert stored(home) == "0123456"
    complaints.clear()  # a 503 response


@pytest.mark.slow
def test_in_select_mode_a_tap_selects(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    page.get_by_role("button", name="Select", exact=True).click()
    page.locator("#photos a.shot").nth(2).click()
    page.locator("#photos a.shot").nth(5).click()
    assert picked(page) == "25"
    assert page.locator("#photo").is_hidden()
    page.get_by_role("button", name="Clear selection").click()
    page.locator("#photos a.shot").nth(2).click()
    page.locator("#photo").wait_for()


@pytest.mark.slow
def test_photos_without_a_description_are_described_in_a_row(
    editor: Editor, home: Property, photos: list[Image]
) -> None:
    for image in photos[3:]:
        gallery.describe(home, str(image.uuid), "A hall")
    page = editor(home, "?f=alt")
    page.locator("#photos a.shot").first.click()
    for number, image in enumerate(photos[:3]):
        page.locator(f"#photo .viewer[data-tile='p-{image.uuid}']").wait_for()
        assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
        page.locator("#photo textarea").fill(f"Room {number}")
        page.get_by_role("button", name="Save and next" if number < 2 else "Save").click()
    page.locator("#photo").wait_for(state="hidden")
    db.session.rollback()
    assert [image.alt_text for image in gallery.images(home)][:3] == ["Room 0", "Room 1", "Room 2"]


@pytest.mark.slow
def test_selected_photos_are_described_in_a_row(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    for nth in (5, 2):
        page.locator("#photos .pick input").nth(nth).check()
    page.locator(".bulk").get_by_role("button", name="Describe").click()
    page.locator("#photo textarea").fill("The second")
    page.get_by_role("button", name="Save and next").click()
    page.locator(f"#photo .viewer[data-tile='p-{photos[5].uuid}']").wait_for()
    page.locator("#photo textarea").fill("The fifth")
    page.get_by_role("button", name="Save").click()
    page.locator("#photo").wait_for(state="hidden")
    page.wait_for_url("**/photos")
    assert page.locator("#photos .tile").count() == 7
    db.session.rollback()
    assert {image.alt_text for image in gallery.images(home)} == {None, "The second", "The fifth"}


@pytest.mark.slow
def test_without_javascript_photos_are_selected_deleted_and_restored(
    tab: Callable[..., Any], sign_in: Callable[[Any, Person], None], alice: Person, home: Property, photos: list[Image]
) -> None:
    page = tab(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(f"/properties/{home.uuid}/photos")
    for nth in (1, 3):
        page.locator("#photos .pick input").nth(nth).check()
    page.locator(".bulk").get_by_role("button", name="Delete").click()
    page.wait_for_load_state()
    assert page.locator("#photos .tile").count() == 5
    assert stored(home) == "02456"
    page.get_by_role("button", name="Undo").click()
    assert stored(home) == "0123456"
    page.locator("#photos a.shot").nth(3).click()
    page.get_by_role("button", name="Make cover").click()
    page.locator("#photos a.shot").nth(6).click()
    page.get_by_label("Position", exact=True).fill("2")
    page.get_by_role("button", name="Move", exact=True).click()
    assert stored(home) == "3601245"
