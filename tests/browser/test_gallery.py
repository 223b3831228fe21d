"""The gallery editor: open, describe, move by keyboard, and work without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import FAILED, Image, Property
from portal.work import work
from tests.browser.pages import Editor, until
from tests.factories import Person

AT = "[...document.querySelectorAll('#photos .tile')].indexOf(document.activeElement.closest('.tile'))"


def described(image: Image) -> str | None:
    db.session.rollback()
    return gallery.find(image.property, str(image.uuid)).alt_text


def test_a_photo_is_described(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    tile = page.locator(f"#p-{photos[2].uuid}")
    tile.get_by_text("Add a description").click()
    page.locator("#photo textarea").fill("Kitchen with an oak island")
    assert page.locator("#photo .count").inner_text() == "26 of 500"
    page.get_by_role("button", name="Save").click()
    page.locator("#photo").wait_for(state="hidden")
    assert tile.locator(".alt").inner_text() == "Kitchen with an oak island"
    assert page.locator(".chip b").nth(1).inner_text() == "6"
    assert "6 without a description" in page.locator("#tray").inner_text()
    assert page.locator("#save").inner_text().startswith("Saved")
    assert described(photos[2]) == "Kitchen with an oak island"
    assert page.evaluate("document.activeElement.closest('.tile')?.id") == f"p-{photos[2].uuid}"


@pytest.mark.parametrize("way", ["Escape", pytest.param("Close", marks=pytest.mark.slow)])
def test_leaving_a_photo_saves_what_was_typed(editor: Editor, home: Property, photos: list[Image], way: str) -> None:
    page = editor(home)
    page.locator(f"#p-{photos[2].uuid}").get_by_text("Add a description").click()
    page.locator("#photo textarea").fill("Balcony with herbs")
    page.keyboard.press("Escape") if way == "Escape" else page.locator("#photo [data-close]").click()
    page.locator("#photo").wait_for(state="hidden")
    assert described(photos[2]) == "Balcony with herbs"
    page.locator("#photos a.shot").nth(0).click()
    page.locator("#photo textarea").wait_for()
    page.keyboard.press("Escape")
    page.locator("#photo").wait_for(state="hidden")


@pytest.mark.slow
def test_a_photo_has_an_address_and_can_open_in_a_new_tab(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    with page.context.expect_page() as opened:
        page.locator(f"#p-{photos[2].uuid} a.shot").click(modifiers=["ControlOrMeta"])
    other = opened.value
    other.locator("#photo .viewer").wait_for()
    assert other.url.endswith(f"/properties/{home.uuid}/photos?photo={photos[2].uuid}")
    assert page.locator("#photo").is_hidden()
    other.wait_for_load_state()
    assert other.locator("#photo").evaluate("box => box.matches(':modal')")
    other.get_by_role("link", name="Close").click()
    other.wait_for_url("**/photos")
    assert other.locator("#photo").is_hidden()


@pytest.mark.slow
def test_a_description_that_is_too_long_stays_in_the_form(
    editor: Editor, home: Property, photos: list[Image], complaints: list[str]
) -> None:
    page = editor(home)
    page.locator(f"#p-{photos[0].uuid} a.shot").click()
    field = page.locator("#photo textarea")
    field.fill("x" * 501)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("at most 500 characters; this one has 501").wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    assert field.input_value() == "x" * 501
    field.fill("A hall")  # the form still works
    page.get_by_role("button", name="Save").click()
    page.locator("#photo").wait_for(state="hidden")
    assert described(photos[0]) == "A hall"
    complaints.clear()  # a 422 response


def test_arrow_keys_follow_the_geometry_of_the_grid(editor: Editor, home: Property, photos: list[Image]) -> None:
    page = editor(home)
    page.locator("#photos a.shot").first.focus()
    walk = [
        ("ArrowRight", 1),  # the first photo spans two columns and two rows
        ("ArrowDown", 3),
        ("ArrowLeft", 2),
        ("Home", 0),
        ("ArrowDown", 5),
        ("End", 6),
        ("ArrowUp", 0),
    ]
    for key, where in walk:
        page.keyboard.press(key)
        assert page.evaluate(AT) == where, key
    assert page.locator("#photos a.shot[tabindex='0']").count() == 1


def test_a_photo_is_opened_described_and_closed_by_keyboard(
    editor: Editor, home: Property, photos: list[Image]
) -> None:
    page = editor(home)
    dialog = page.locator("#photo")
    page.locator("#photos a.shot").first.focus()
    page.keyboard.press("Enter")
    dialog.wait_for()
    assert f"photo={photos[0].uuid}" in page.url
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.wait_for_url("**/photos")
    assert page.evaluate(AT) == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.evaluate("addEventListener('popstate', () => (window.isBack = true), { once: true })")
    page.keyboard.press("Escape")
    page.keyboard.press("d")  # immediately, while the address is still changing back
    until(page, "window.isBack && location.search.startsWith('?photo=')")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("?")
    page.locator("#help").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"


@pytest.mark.slow
def test_back_closes_the_photo_and_goes_on_to_the_page_before(
    page: Any,
    editor: Editor,
    alice: Person,
    sign_in: Callable[[Any, Person], None],
    home: Property,
    photos: list[Image],
) -> None:
    sign_in(page, alice)
    page.goto("/properties")
    editor(home)
    page.locator("#photos a.shot").nth(1).click()
    page.locator("#photo").wait_for()
    page.get_by_role("link", name="Next photo").click()
    page.wait_for_url(f"**photo={photos[2].uuid}")
    page.go_back()
    page.locator("#photo").wait_for(state="hidden")
    assert page.url.endswith("/photos")
    page.go_forward()
    page.locator("#photo").wait_for()
    page.go_back()
    page.locator("#photo").wait_for(state="hidden")
    page.go_back()
    page.wait_for_url("**/properties")


@pytest.mark.slow
@pytest.mark.usefixtures("hurried", "worker")
def test_a_failed_photo_says_why_and_can_be_retried(editor: Editor, home: Property, photos: list[Image]) -> None:
    with work():
        image = db.session.get_one(Image, photos[1].id)
        image.variants, image.failure_reason = FAILED, "The file ends too early: a part of it is missing."
    page = editor(home)
    tile = page.locator(f"#p-{photos[1].uuid}")
    assert "a part of it is missing" in tile.inner_text()
    tile.get_by_role("button", name="Try again").click()
    page.locator(f"#p-{photos[1].uuid}:not([data-s])").wait_for()
    assert "could not be processed" not in page.locator("#tray").inner_text()


@pytest.mark.slow
def test_the_filter_shows_photos_without_a_description(editor: Editor, home: Property, photos: list[Image]) -> None:
    gallery.describe(home, str(photos[0].uuid), "A hall")
    page = editor(home)
    page.get_by_role("link", name="No description 6").click()
    page.wait_for_url("**?f=alt")
    page.locator("#photos[data-filter]").wait_for()
    assert page.locator("#photos .tile").count() == 6
    assert page.locator("#photos .num").first.get_attribute("data-n") == "02"
    page.go_back()
    page.locator("#photos:not([data-filter]) .tile").nth(6).wait_for()


def test_everything_but_the_upload_works_without_javascript(
    tab: Callable[..., Any], sign_in: Callable[[Any, Person], None], alice: Person, home: Property, photos: list[Image]
) -> None:
    page = tab(java_script_enabled=False)
    sign_in(page, alice)
    page.goto(f"/properties/{home.uuid}/photos")
    assert page.get_by_role("button", name="Add photos").count() == 0
    page.get_by_text("Add a description").nth(2).click()
    page.locator("#photo textarea").fill("A garden gate")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**/photos#p-{photos[2].uuid}")
    assert page.locator(f"#p-{photos[2].uuid} .alt").inner_text() == "A garden gate"
    page.get_by_role("link", name="No description 6").click()
    page.wait_for_load_state()
    assert page.locator("#photos .tile").count() == 6


@pytest.mark.slow
def test_the_theme_is_remembered_and_drawn_by_the_server(editor: Editor, home: Property) -> None:
    page = editor(home)
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert 'data-theme="dark"' in page.request.get(page.url).text()
