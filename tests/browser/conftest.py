"""Fixtures for pages in a real Chromium, against the real app, SeaweedFS and a worker. Console errors fail a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from portal import config
from portal.config import Settings
from portal.demo.pms.hostaway import FakeHostaway
from portal.images.models import Image, Property
from portal.infra import jobs
from portal.listings.models import IntegrationAccount
from portal.pages import session
from tests.browser.pages import TIMEOUT_MS, at_work, finished, hurry
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

USUAL = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"}


def path_of_chromium() -> str | None:
    """Return $CHROMIUM, or the one on the PATH; the headless shell takes half the CPU of the whole browser."""
    on_path = filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome")))
    return os.environ.get("CHROMIUM") or next(on_path, None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser that all tests of a process share."""
    path = path_of_chromium()
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
    """The browser profile of most pages: files fetched and compiled by one test are cached for the next one.

    A page of our origin stays open, since the renderer process ends with the last one.
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
    """Errors and warnings in the console; a test that provokes a failed request clears them."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def tab(chromium: Any, live: str, complaints: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a page in a fresh browser profile; options are those of a Playwright context."""
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
    """A page of the usual profile, without cookies. After a failure that profile is closed: its process may hang."""
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
    """Sign a person in by cookie; test_every_page.py covers the sign-in page."""

    def act(page: Any, person: Person) -> None:
        name = session.cookie_name()
        cookie = person.browser().get_cookie(name)
        assert cookie
        page.context.add_cookies([{"name": name, "value": cookie.value, "url": config.settings().public_url}])

    return act


@pytest.fixture
def hurried(page: Any) -> None:
    """Make pages in this tab poll all the time; test_concurrent_editing.py covers the usual interval."""
    hurry(page)


@pytest.fixture
def editor(page: Any, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[..., Any]:
    """Open a property's gallery, or a page below it, as Alice; in the tab `on`, if given."""

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
        pms.is_limited, pms.valid_after_s = False, 0
        yield pms


@pytest.fixture
def account(alice: Person, pms: FakeHostaway) -> IntegrationAccount:
    """Alice's account there, synced and copied."""
    return stays.synced(stays.connected(alice.workspace, pms))


@pytest.fixture
def open_page(page: Any, hurried: None, alice: Person, sign_in: Callable[[Any, Person], None]) -> Callable[[str], Any]:
    """Open a page as Alice; `isTheSame` on its window is lost by a reload."""

    def act(path: str) -> Any:
        sign_in(page, alice)
        page.goto(path)
        page.evaluate("window.isTheSame = true")
        return page

    return act


@pytest.fixture
def photos(home: Property) -> list[Image]:
    """Seven finished photos: two rows and a bit."""
    return finished(home, *[f"{n}.jpg" for n in range(7)])


@pytest.fixture
def names(photos: list[Image]) -> dict[str, str]:
    """The number in each photo's file name, by its id."""
    return {str(image.uuid): image.file_name[0] for image in photos}


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    """A worker for photos, running alongside the browser."""
    with at_work(jobs.PIXELS):
        yield
