"""Two people edit simultaneously: both changes hold, and nobody loses what they are doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.images import deletion, gallery, order
from portal.images.models import Image, Property
from tests import factories
from tests.browser.pages import SHOWN, Editor, centre, go_on, shown, stored, until

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.mark.slow
def test_the_sheet_polls_slowly_and_each_second_while_something_is_processing(
    tab: Callable[..., Any], editor: Editor, home: Property, photos: list[Image]
) -> None:
    page = tab()
    asked: list[str] = []
    page.on("request", lambda request: "/progress" in request.url and asked.append(request.url))
    page.clock.install(time=0)
    editor(home, on=page)
    with page.expect_response("**/progress*"):
        page.clock.pause_at(60_000)
    asked.clear()
    with page.expect_response("**/progress*"):
        page.clock.run_for(5_000)
    assert len(asked) == 1
    factories.photo_in(home)
    with page.expect_response("**/progress*"):
        page.clock.run_for(5_000)
    until(page, "document.querySelector('#tray').getAttribute('hx-trigger') === 'tick from:body'")
    for _ in range(3):
        with page.expect_response("**/progress*"):
            page.clock.run_for(1_000)


def test_a_change_in_another_window_appears_by_itself_but_never_while_dragging(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    order.move(home, str(photos[6].uuid), after=None)
    until(page, f"{SHOWN}[0] === '{photos[6].uuid}'")
    page.mouse.move(*centre(page, 1))
    page.mouse.down()
    page.mouse.move(*centre(page, 4), steps=8)
    order.move(home, str(photos[5].uuid), after=None)
    until(page, "document.querySelector('#tray').dataset.version > document.querySelector('#photos').dataset.version")
    go_on(page)  # it knows of the change, and could have fetched it meanwhile
    assert shown(page, names) == "6123045"
    page.mouse.up()
    until(page, f"{SHOWN}[0] === '{photos[5].uuid}'")
    assert shown(page, names) == stored(home)


def test_a_conflict_shows_the_current_gallery_and_keeps_focus_and_selection(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str], complaints: list[str]
) -> None:
    page = editor(home)
    page.locator("#photos .pick input").nth(5).check()
    page.locator("#photos a.shot").nth(2).focus()
    page.keyboard.press("m")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.locator("#photos a.shot").nth(1).focus()
    page.keyboard.press("m")
    deletion.delete(home, [str(photos[1].uuid)])  # no update appears while somebody drags a photo
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("That photo no longer exists").first.wait_for()
    page.locator(f"#p-{photos[1].uuid}").wait_for(state="detached")
    assert shown(page, names) == stored(home) == "023456"
    assert page.locator("#photos .pick :checked").evaluate_all("boxes => boxes.map(box => box.value)") == [
        str(photos[5].uuid)
    ]
    assert page.evaluate("!!document.activeElement.closest('.tile')")
    complaints.clear()  # a 409 response


@pytest.mark.slow
def test_the_focus_stays_on_controls_that_the_page_added_to_a_tile(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    page.locator(f"#p-{photos[2].uuid} .more").focus()
    order.move(home, str(photos[6].uuid), after=None)
    gallery.describe(home, str(photos[2].uuid), "A hall")
    until(page, f"{SHOWN}[0] === '{photos[6].uuid}'")
    assert page.evaluate("document.activeElement.ariaLabel") == "Actions for A hall"
    named = page.locator("#photos .grip").evaluate_all("grips => grips.map(grip => grip.ariaLabel)")
    assert named == [f"Move {name}" for name in page.locator("#photos img").evaluate_all("all => all.map(i => i.alt)")]


def test_typed_text_stays_when_the_sheet_is_redrawn(
    editor: Editor, home: Property, photos: list[Image], names: dict[str, str]
) -> None:
    page = editor(home)
    page.locator("#photos a.shot").nth(2).click()
    page.locator("#photo textarea").fill("A kitchen with")
    order.move(home, str(photos[6].uuid), after=None)
    until(page, f"{SHOWN}[0] === '{photos[6].uuid}'")
    assert page.locator("#photo textarea").input_value() == "A kitchen with"
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
