"""Pages in a real Chromium, against the real app, SeaweedFS and a worker. What the console says counts."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from portal import jobs
from portal.accounts import access
from portal.accounts.models import User
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import gallery
from portal.images.models import Image, Property
from portal.listings.models import IntegrationAccount
from tests import factories
from tests.factories import Person
from tests.listings import stays

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the test extra: playwright")

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Sheet = Callable[[Property], Any]
SHOWN = "[...document.querySelectorAll('#photos .tile')].map(tile => tile.id.slice(2))"
ANNOUNCED = "document.querySelector('#live-now').textContent"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """$CHROMIUM, or the one on the PATH."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("needs Chromium: set CHROMIUM, or have it on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console said that it should not have; a test that provokes a failed request clears it."""
    return []


@pytest.fixture
def tab(chromium: Any, live: str, complaints: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a page of a fresh browser profile; options are those of a Playwright context."""
    contexts = []

    def open_tab(**options: Any) -> Any:
        context = chromium.new_context(
            base_url=live,
            **{"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options},
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(tab: Callable[..., Any]) -> Any:
    return tab()


@pytest.fixture
def sign_in(app: Flask) -> Callable[[Any, Person], None]:
    """Sign somebody in as they would: by their link and its one button."""

    def act(page: Any, person: Person) -> None:
        token = access.create_sign_in_link(db.session.get_one(User, person.user.id))
        page.goto(f"/sign-in/link?token={token}")
        page.locator("main form button").click()
        page.wait_for_url("**/properties")

    return act


@pytest.fixture
def sheet(page: Any, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[[Property], Any]:
    """Alice's browser on the gallery of a property."""

    def open_sheet(home: Property) -> Any:
        sign_in(page, alice)
        page.goto(f"/properties/{home.uuid}/photos")
        return page

    return open_sheet


@pytest.fixture
def pms(app: Flask) -> Iterator[FakeHostaway]:
    """A Hostaway with three listings of four pictures each, and no rate limit."""
    with FakeHostaway() as pms:
        pms.is_limited = False
        yield pms


@pytest.fixture
def account(alice: Person, pms: FakeHostaway) -> IntegrationAccount:
    """Alice's account in it, synced and copied."""
    return stays.synced(stays.connected(alice.workspace, pms))


@pytest.fixture
def open_page(page: Any, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[[str], Any]:
    """Alice's browser on a page, which notices when somebody loads it again."""

    def act(path: str) -> Any:
        sign_in(page, alice)
        page.goto(path)
        page.evaluate("window.isTheSame = true")
        return page

    return act


@pytest.fixture
def photos(home: Property, work_off: Callable[[], int]) -> list[Image]:
    """Seven finished photos, as many as two rows and a bit."""
    images = [factories.photo_in(home, factories.jpeg(300, 200), name=f"{n}.jpg") for n in range(7)]
    work_off()
    return images


@pytest.fixture
def names(photos: list[Image]) -> dict[str, str]:
    """The number in a photo's file name, by its id."""
    return {str(image.uuid): image.file_name[0] for image in photos}


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    """A worker beside the browser that makes photos."""
    with at_work(jobs.PIXELS):
        yield


@contextmanager
def at_work(*names: str) -> Iterator[None]:
    """A worker for each of these queues: runs every job as it is rung for."""
    stop = threading.Event()

    def run(name: str) -> None:
        queue = jobs.queue(name)
        while not stop.wait(0.05):
            while not stop.is_set() and not queue.is_empty():
                job = queue.fetch_job(queue.pop_job_id())
                if job:
                    job.func(*job.args)

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def shown(page: Any, names: dict[str, str]) -> str:
    return "".join(names[id] for id in page.evaluate(SHOWN))


def stored(home: Property) -> str:
    db.session.rollback()  # what is read from here on is read anew
    return "".join(image.file_name[0] for image in gallery.images(home))


def settles(page: Any, home: Property, expected: str) -> bool:
    """Whether the gallery comes to be stored in this order."""
    for _ in range(60):
        if stored(home) == expected:
            return True
        page.wait_for_timeout(50)
    return stored(home) == expected


def until(page: Any, holds: str) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the pages forbid."""
    for _ in range(180):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{holds} does not hold")


def centre(page: Any, nth: int) -> tuple[float, float]:
    box = page.locator("#photos a.shot").nth(nth).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
