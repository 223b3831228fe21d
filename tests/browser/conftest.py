"""Pages in a real Chromium, against the real app, SeaweedFS and a worker. What the console says counts."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import pytest
from flask import Flask

from portal import config
from portal.config import Settings
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import gallery, variants
from portal.images.keys import StoragePrefix, uuid_in
from portal.images.models import Image, Property
from portal.infra import jobs, storage
from portal.listings.models import IntegrationAccount
from portal.pages import session
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.render import Rendered, render
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.listings import stays

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the test extra: playwright")

T = TypeVar("T")

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

USUAL = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}
TIMEOUT_MS = 20_000  # of whatever is waited for in a page
STEP_MS = 50
# No more often than this: a sheet that differs is fetched 250 ms after the last news.
OFTEN = "setInterval(() => ['tick', 'slow-tick'].forEach((name) => document.body?.dispatchEvent(new Event(name))), 400)"

Sheet = Callable[..., Any]
SHOWN = "[...document.querySelectorAll('#photos .tile')].map(tile => tile.id.slice(2))"
ANNOUNCED = "document.querySelector('#live-now').textContent"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """$CHROMIUM, or the one on the PATH; the shell without a window takes half the CPU of the whole browser."""
    on_path = filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome")))
    path = os.environ.get("CHROMIUM") or next(on_path, None)
    if not path:
        pytest.skip("needs Chromium: set CHROMIUM, or have it on the PATH")
    with sync_api.sync_playwright() as playwright:
        ours = (*QUIET, "--process-per-site")  # a new page needs no new process
        browser = playwright.chromium.launch(executable_path=path, args=list(ours))
        try:
            yield browser
        finally:
            browser.close()


class Profile:
    """The browser profile of most pages: what one test has fetched and compiled, the next one has at once.

    A page of our origin stays open, since the process that draws goes with the last one.
    """

    def __init__(self, chromium: Any, url: str) -> None:
        self.chromium, self.url = chromium, url
        self.context: Any = None

    def new_page(self) -> Any:
        if not self.context:
            self.context = self.chromium.new_context(base_url=self.url, **USUAL)
            keeper = self.context.new_page()
            keeper.route("**", lambda route: route.fulfill(body=""))
            keeper.goto("/")
        return self.context.new_page()

    def clear(self) -> None:
        for page in self.context.pages[1:]:
            page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()

    def close(self) -> None:
        if self.context:
            self.context.close()
        self.context = None


@pytest.fixture(scope="session")
def profile(chromium: Any, settings: Settings) -> Iterator[Profile]:
    profile = Profile(chromium, settings.public_url)
    yield profile
    profile.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the console said that it should not have; a test that provokes a failed request clears it."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def tab(chromium: Any, live: str, complaints: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a page of a fresh browser profile; options are those of a Playwright context."""
    contexts = []

    def open_tab(**options: Any) -> Any:
        context = chromium.new_context(base_url=live, **USUAL | options)
        contexts.append(context)
        return _heard(context.new_page(), complaints)

    yield open_tab
    for context in contexts:
        context.close()


@pytest.fixture
def page(request: pytest.FixtureRequest, profile: Profile, live: str, complaints: list[str]) -> Iterator[Any]:
    """A page of the usual profile, without cookies. After a failure that profile goes: its process may hang."""
    failed = request.session.testsfailed
    yield _heard(profile.new_page(), complaints)
    if request.session.testsfailed > failed:
        profile.close()
    else:
        profile.clear()


def _heard(page: Any, complaints: list[str]) -> Any:
    page.set_default_timeout(TIMEOUT_MS)
    page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


@pytest.fixture
def sign_in() -> Callable[[Any, Person], None]:
    """Sign somebody in; how they do that themselves, test_looks.py shows."""

    def act(page: Any, person: Person) -> None:
        name = session.cookie_name()
        cookie = person.browser().get_cookie(name)
        assert cookie
        page.context.add_cookies([{"name": name, "value": cookie.value, "url": config.settings().public_url}])

    return act


@pytest.fixture
def hurried(page: Any) -> None:
    """What is opened in this tab asks for news all the time; how often it does by itself, test_together.py shows."""
    hurry(page)


@pytest.fixture
def sheet(page: Any, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[..., Any]:
    """Alice's browser on the gallery of a property, or below it; in another tab, where one is named."""

    def open_sheet(home: Property, below: str = "", on: Any = None) -> Any:
        shown_on = on or page
        sign_in(shown_on, alice)
        shown_on.goto(f"/properties/{home.uuid}/photos{below}")
        return shown_on

    return open_sheet


@pytest.fixture
def pms(app: Flask) -> Iterator[FakeHostaway]:
    """A Hostaway with three listings of four pictures each, and no rate limit."""
    with FakeHostaway() as pms:
        pms.is_limited, pms.good_after_s = False, 0
        yield pms


@pytest.fixture
def account(alice: Person, pms: FakeHostaway) -> IntegrationAccount:
    """Alice's account in it, synced and copied."""
    return stays.synced(stays.connected(alice.workspace, pms))


@pytest.fixture
def open_page(page: Any, hurried: None, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[[str], Any]:
    """Alice's browser on a page, which notices when somebody loads it again."""

    def act(path: str) -> Any:
        sign_in(page, alice)
        page.goto(path)
        page.evaluate("window.isTheSame = true")
        return page

    return act


@pytest.fixture
def photos(home: Property) -> list[Image]:
    """Seven finished photos, as many as two rows and a bit."""
    return finished(home, *[f"{n}.jpg" for n in range(7)])


@pytest.fixture
def names(photos: list[Image]) -> dict[str, str]:
    """The number in a photo's file name, by its id."""
    return {str(image.uuid): image.file_name[0] for image in photos}


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    """A worker beside the browser that makes photos."""
    with at_work(jobs.PIXELS):
        yield


def finished(home: Property, *names: str, size: tuple[int, int] = (300, 200)) -> list[Image]:
    """Photos as their upload and the worker leave them; what those do, other tests show."""
    data, picture, rendered = _rendered(*size)
    place = StoragePrefix.of(home)
    images = []
    with work() as w, ThreadPoolExecutor(4) as pool:
        originals = [place.original_key(picture.type) for _ in names]
        puts = [pool.submit(config.in_this_app(w.put), storage.uploads, key, data, picture.type) for key in originals]
        stored = list(pool.map(config.in_this_app(lambda _: variants.store(w, place, rendered)), names))
        for name, key, made, put in zip(names, originals, stored, puts, strict=True):
            put.result()
            image = Image(property_id=home.id, file_name=name, type=picture.type, size_bytes=len(data))
            image.key, image.original_key = place.original_key(picture.type), key
            image.uuid, image.sha256, image.added_by = uuid_in(image.key), hashlib.sha256(data).hexdigest(), "Alice"
            variants.swap(w, image, made)
            images.append(image)
        gallery.append(home, *images)
    return images


@cache
def _rendered(width: int, height: int) -> tuple[bytes, Picture, Rendered]:
    data = factories.jpeg(width, height)
    picture = inspect(data)
    return data, picture, render(data, picture)


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

    threads = [threading.Thread(target=config.in_this_app(run), args=(name,), daemon=True) for name in names]
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


def shows(page: Any, names: dict[str, str], expected: str) -> bool:
    """Whether the page comes to show the photos in this order: a form is submitted a moment after its key."""
    return becomes(page, lambda: shown(page, names), expected) == expected


def stored(home: Property) -> str:
    db.session.rollback()  # what is read from here on is read anew
    return "".join(image.file_name[0] for image in gallery.images(home))


def settles(page: Any, home: Property, expected: str) -> bool:
    """Whether the gallery comes to be stored in this order."""
    return becomes(page, lambda: stored(home), expected) == expected


def becomes(page: Any, read: Callable[[], T], expected: T) -> T:
    """Read until it is what is expected, or for so long that it never will be. Meanwhile the page goes on."""
    for _ in range(TIMEOUT_MS // STEP_MS):
        if (found := read()) == expected:
            return found
        page.wait_for_timeout(STEP_MS)  # any other way to wait would hold up the routes of a test
    return read()


def until(page: Any, holds: str) -> None:
    """Wait for a condition; Playwright's own way needs eval, which the pages forbid."""
    assert becomes(page, lambda: bool(page.evaluate(holds)), True), f"{holds} does not hold"


def hurry(page: Any) -> None:
    """Have what is opened from here on in this tab ask for news all the time."""
    page.add_init_script(OFTEN)


def go_on(page: Any, rounds: int = 2) -> None:
    """Wait while a page that was hurried asks for news so many times."""
    for _ in range(rounds):
        with page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
            pass


def centre(page: Any, nth: int) -> tuple[float, float]:
    box = page.locator("#photos a.shot").nth(nth).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
