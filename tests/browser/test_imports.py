"""Importing photos by link: the dialog, the card, photos that arrive one by one, and a reload in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from portal.db import db
from portal.images import gallery
from portal.images.imports import fetch
from portal.images.models import Property
from tests import factories
from tests.browser.pages import Editor
from tests.outside import Outside, Reply, Seen, outside

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def world() -> Iterator[Outside]:
    photo = factories.jpeg(300, 200)
    there_again: set[str] = set()

    def answer(seen: Seen) -> Reply:
        if seen.path.startswith("/late") and seen.path not in there_again:
            there_again.add(seen.path)
            return Reply(404)
        return (
            Reply(404) if seen.path.startswith("/none") else Reply(body=photo, headers={"Content-Type": "image/jpeg"})
        )

    with outside(answer) as host:
        yield host


@pytest.fixture
def importer(app: Flask) -> Iterator[threading.Event]:
    """A worker for imports that starts on request."""
    begin, stop = threading.Event(), threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            if begin.is_set():
                with app.app_context():
                    fetch.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield begin
    stop.set()
    thread.join(30)


def paste(page: Any, *links: str) -> None:
    page.get_by_role("link", name="Import from links").locator("visible=true").first.click()
    page.get_by_label("Links to photos").fill("\n".join(links))
    page.get_by_role("button", name="Import", exact=True).click()


@pytest.mark.usefixtures("worker")
def test_photos_arrive_and_the_progress_survives_a_reload(
    editor: Editor, home: Property, world: Outside, importer: threading.Event
) -> None:
    page = editor(home)
    polls: list[str] = []
    page.on("request", lambda request: "/progress" in request.url and polls.append(request.url))
    paste(page, *[f"{world.url}/{n}.jpg" for n in range(4)], f"{world.url}/late.jpg")
    page.locator("#import").wait_for(state="hidden")
    page.get_by_role("heading", name="Importing 5 photos").wait_for()
    page.reload()
    page.get_by_role("heading", name="Importing 5 photos").wait_for()
    importer.set()
    page.locator("#photos .tile").nth(3).wait_for()
    page.locator(".toast", has_text="Imported 4 of 5 photos.").first.wait_for()
    page.get_by_role("heading", name="1 link failed").wait_for()
    assert "late.jpg" in page.locator("#imports").inner_text()
    assert polls
    page.locator("#photos .tile:not([data-s])").nth(3).wait_for()
    assert page.locator("#tab-count").inner_text() == "4"
    page.locator("#imports").get_by_role("button", name="Try again").click()
    page.locator("#photos .tile").nth(4).wait_for()
    page.locator("#imports .card").wait_for(state="detached")
    page.locator(".toast", has_text="Imported 5 photos.").first.wait_for()
    db.session.rollback()
    assert gallery.quota(home).used == 5
    assert page.locator("#tray").count() == 1


def test_an_invalid_line_is_named_and_the_text_stays(editor: Editor, home: Property, complaints: list[str]) -> None:
    page = editor(home)
    paste(page, "https://example.com/a.jpg", "no link at all")
    page.locator("#import .wrong", has_text="Line 2").wait_for()
    field = page.get_by_label("Links to photos")
    assert field.input_value() == "https://example.com/a.jpg\nno link at all"
    assert field.get_attribute("aria-invalid") == "true"
    complaints.clear()  # a 422 response


@pytest.mark.slow
def test_a_hidden_import_continues(editor: Editor, home: Property, world: Outside, importer: threading.Event) -> None:
    page = editor(home)
    paste(page, f"{world.url}/1.jpg")
    page.get_by_role("button", name="Hide this import, it continues").click()
    page.locator("#imports .card").wait_for(state="detached")
    page.reload()
    assert page.locator("#imports .card").count() == 0
    importer.set()
    page.locator(".toast", has_text="Imported 1 photo.").first.wait_for()
    page.locator("#photos .tile").wait_for()


@pytest.mark.slow
def test_the_import_dialog_opened_by_its_address_works_too(editor: Editor, home: Property, worker: None) -> None:
    image = factories.photo_in(home)
    page = editor(home, "/import")
    assert page.locator("#import").evaluate("box => box.matches(':modal')")
    assert page.url.endswith("/photos")
    page.locator("#import").get_by_role("link", name="Close").click()
    page.locator(f"#p-{image.uuid}:not([data-s])").wait_for()
    page.locator(f"#p-{image.uuid} a.shot").click()
    page.locator("#photo .viewer").wait_for()
    assert page.url.endswith(f"/photos?photo={image.uuid}")
