"""One listing and its pictures: tried again, the focus kept, links copied, made a property."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from portal.listings.models import IntegrationAccount
from tests.browser.conftest import at_work, go_on
from tests.factories import Person
from tests.listings import stays


@pytest.mark.slow
def test_what_failed_is_tried_again(open_page: Callable[[str], Any], alice: Person, pms: FakeHostaway) -> None:
    for number in (2, 3):
        pms.fail_next(1, 404, below=f"/pictures/1/{number}.jpg")
    stays.synced(stays.connected(alice.workspace, pms))
    page = open_page("/listings")
    page.get_by_role("link", name=re.compile("^Failed")).click()
    page.get_by_role("link", name="Heron House 1").click()
    page.evaluate("window.isTheSame = true")
    row = page.locator("tr", has_text="PMS image returns 404").first
    assert "Failed" in row.inner_text() and row.locator("img").count() == 0
    with at_work(jobs.CDN):
        page.get_by_role("button", name="Try again: picture 02").click()
        second = page.locator("tbody tr").nth(2)
        second.locator(".badge", has_text="Copied").wait_for()
        second.locator("img").wait_for()
        page.get_by_role("button", name="Try all again").click()
        page.locator("tbody tr").nth(3).locator(".badge", has_text="Copied").wait_for()
    assert page.get_by_role("button", name="Try all again").count() == 0
    assert page.evaluate("window.isTheSame")


@pytest.mark.slow
def test_the_focus_goes_on_from_a_button_that_goes(
    open_page: Callable[[str], Any], alice: Person, pms: FakeHostaway
) -> None:
    def focused() -> str:
        return str(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.href"))

    def press(name: str) -> None:
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name=name).wait_for(state="detached")

    for number in (2, 3, 4):
        pms.fail_next(1, 404, below=f"/pictures/1/{number}.jpg")
    stays.synced(stays.connected(alice.workspace, pms))
    path = f"/listings/{stays.listings()[0].uuid}"
    page = open_page(path)
    press("Try again: picture 03")
    assert focused().endswith("/pictures/1/3.jpg"), "the next control in its row"
    go_on(page)  # the page asks for itself, and the focus stays
    assert focused().endswith("/pictures/1/3.jpg")
    press("Try all again")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    go_on(page)
    assert page.evaluate("document.activeElement.tagName") == "H1"
    for number in (1, 2, 3):
        stays.failed(stays.listings()[0], position=number)
    page.goto(f"{path}?state=failed")
    press("Try again: picture 03")
    assert focused() == "Try again: picture 04", "what took its place"
    press("Try again: picture 04")
    assert focused() == "Try again: picture 02"
    press("Try again: picture 02")
    assert page.evaluate("document.activeElement.tagName") == "H1"


@pytest.mark.slow
def test_links_are_copied(open_page: Callable[[str], Any], account: IntegrationAccount) -> None:
    page = open_page(f"/listings/{stays.listings()[0].uuid}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the link of picture 01").click()
    page.locator(".toast", has_text="Copied.").wait_for()
    url = page.evaluate("navigator.clipboard.readText()")
    assert "/gallery/0_" in url and page.request.get(url).ok
    page.get_by_role("button", name="Copy all links").click()
    page.locator(".toast", has_text="Copied.").nth(1).wait_for()
    urls = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(urls) == 5 and url in urls


@pytest.mark.slow
def test_a_property_is_made_of_a_listing(open_page: Callable[[str], Any], account: IntegrationAccount) -> None:
    page = open_page(f"/listings/{stays.listings()[1].uuid}")
    with at_work(jobs.NETWORK, jobs.PIXELS):
        page.get_by_role("button", name="Create a property").click()
        page.wait_for_url("**/photos")
        assert page.locator("h1").inner_text() == "Mill Loft 2"
        page.locator("#photos .tile").nth(3).wait_for()
    page.go_back()
    page.reload()
    page.get_by_role("link", name="Go to the property").click()
    page.wait_for_url("**/photos")
