"""Photos are reordered by mouse, touch, keyboard and number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.images import gallery
from portal.images.models import Image, Property
from tests.browser.pages import ANNOUNCED, Editor, becomes_stored, centre, go_on, shows, until
from tests.factories import Person


def cover(page: Any) -> str:
    return str(page.locator("#photos [data-cover]").get_attribute("id"))


def test_a_photo_is_dragged_by_mouse(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    page.mouse.move(*centre(page, 1))
    page.mouse.down()
    page.mouse.move(*centre(page, 4), steps=8)
    page.keyboard.press("Escape")  # puts it back
    page.mouse.up()
    assert shows(page, names, "0123456")
    assert page.locator(".lifted, .ghost").count() == 0
    page.mouse.move(*centre(page, 1))
    page.mouse.down()
    page.mouse.move(*centre(page, 4), steps=8)
    assert page.locator(".ghost").count() == 1
    page.mouse.up()
    assert page.locator(".ghost").count() == 0
    assert shows(page, names, "0234156")
    assert page.locator("#photo").is_hidden()  # the click that ends a drag opens nothing
    assert becomes_stored(page, home, "0234156")
    page.locator("#save").get_by_text("Saved ").wait_for()


@pytest.mark.slow
def test_dragging_to_the_first_position_sets_the_cover_and_undo_reverts_it(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    page.mouse.move(*centre(page, 3))
    page.mouse.down()
    page.mouse.move(*centre(page, 0), steps=8)
    page.mouse.up()
    assert cover(page) == f"p-{photos[3].uuid}"
    assert becomes_stored(page, home, "3012456")
    assert gallery.images(home)[0].is_main
    page.get_by_role("button", name="Undo").click()
    assert shows(page, names, "0123456")
    assert cover(page) == f"p-{photos[0].uuid}"
    assert becomes_stored(page, home, "0123456")


def touch(finger: Any, type: str, *points: tuple[float, float]) -> None:
    finger.send("Input.dispatchTouchEvent", {"type": type, "touchPoints": [{"x": x, "y": y} for x, y in points]})


@pytest.mark.slow
def test_a_photo_is_dragged_by_touch_and_scrolling_is_no_drag(
    tab: Callable[..., Any],
    sign_in: Callable[[Any, Person], None],
    alice: Person,
    home: Property,
    photos: list[Image],
    names: dict[str, str],
) -> None:
    page = tab(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    sign_in(page, alice)
    page.goto(f"/properties/{home.uuid}/photos")
    page.evaluate("scrollTo(0, 400)")
    until(page, "scrollY === 400")
    finger = page.context.new_cdp_session(page)
    (x, y), (to_x, to_y) = centre(page, 1), centre(page, 4)
    touch(finger, "touchStart", (x, y))
    page.locator(".lifted").wait_for()
    for step in range(1, 9):
        touch(finger, "touchMove", (x + (to_x - x) * step / 8, y + (to_y - y) * step / 8))
    touch(finger, "touchEnd")
    assert shows(page, names, "0234156")
    assert becomes_stored(page, home, "0234156")
    was = page.evaluate("scrollY")
    touch(finger, "touchStart", (x, y))
    for step in range(1, 7):
        touch(finger, "touchMove", (x, y - 25 * step))
    page.wait_for_timeout(420)  # longer than a hold: the gesture itself
    touch(finger, "touchEnd")
    assert page.evaluate("scrollY") > was
    assert shows(page, names, "0234156")


def test_a_photo_is_moved_by_keyboard(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    page.locator("#photos a.shot").nth(1).focus()
    page.keyboard.press("m")
    until(page, f"{ANNOUNCED}.startsWith('Picked up')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    until(page, f"{ANNOUNCED} === 'Position 5 of 7'")
    page.keyboard.press("Enter")
    until(page, f"{ANNOUNCED} === 'Placed at position 5.'")
    assert shows(page, names, "0234156")
    assert becomes_stored(page, home, "0234156")
    page.keyboard.press("m")
    page.keyboard.press("Home")
    assert shows(page, names, "1023456")
    page.keyboard.press("Escape")
    assert shows(page, names, "0234156")
    assert page.evaluate("document.activeElement.closest('.tile').id") == f"p-{photos[1].uuid}"
    page.keyboard.press("Tab")  # box
    page.keyboard.press("Tab")  # grip
    page.keyboard.press("Enter")
    assert page.locator(".carry").count() == 1
    page.keyboard.press("Escape")
    page.locator("#photos a.shot").nth(2).focus()
    page.keyboard.press("c")
    page.locator(".toast", has_text="is now the cover").wait_for()
    assert becomes_stored(page, home, "3024156")
    page.keyboard.press("Control+z")
    assert shows(page, names, "0234156")
    assert becomes_stored(page, home, "0234156")


@pytest.mark.slow
@pytest.mark.usefixtures("hurried")
def test_rapid_moves_are_all_saved_in_order(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    for _ in range(4):
        page.locator("#photos a.shot").first.focus()
        page.keyboard.press("m")
        page.keyboard.press("End")
        page.keyboard.press("Enter")
    assert shows(page, names, "4560123")
    assert becomes_stored(page, home, "4560123")
    go_on(page)  # what the versions would deliver if they were misread
    assert shows(page, names, "4560123")


@pytest.mark.slow
def test_a_photo_is_moved_to_a_position_and_by_one(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)

    def choose(nth: int, what: str) -> None:
        page.locator("#photos .tile").nth(nth).hover()
        page.locator("#photos .more").nth(nth).click()
        page.get_by_role("menuitem", name=what).click()

    choose(1, "Move to position")
    page.get_by_label("New position").fill("6")
    page.keyboard.press("Enter")
    assert becomes_stored(page, home, "0234516")
    choose(5, "Move earlier")
    assert becomes_stored(page, home, "0234156")
    choose(0, "Move later")
    assert becomes_stored(page, home, "2034156")
    choose(2, "Make cover")
    assert becomes_stored(page, home, "3204156")
    page.goto(f"/properties/{home.uuid}/photos?photo={photos[5].uuid}")
    page.get_by_label("Position", exact=True).fill("2")
    page.get_by_role("button", name="Move", exact=True).click()
    assert becomes_stored(page, home, "3520416")


@pytest.mark.slow
def test_several_photos_are_moved_together_and_back(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    for nth in (1, 3):
        page.locator("#photos .pick input").nth(nth).check()
    page.get_by_role("button", name="Move to…").click()
    page.get_by_label("New position").fill("5")
    page.keyboard.press("Enter")
    assert shows(page, names, "0245136")
    assert becomes_stored(page, home, "0245136")
    page.get_by_role("button", name="Undo").click()
    assert shows(page, names, "0123456")
    assert becomes_stored(page, home, "0123456")
