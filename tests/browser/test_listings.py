"""Listings, with a PMS at the other end: connect, switch, sync, retry, search, create a property."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from portal.listings import integrations, sync
from portal.listings.models import IntegrationAccount, Listing
from portal.listings.providers import hostaway
from tests.browser.pages import at_work, go_on
from tests.browser.test_every_page import LOOKS, WHOLE, barriers, found_by_axe, resize
from tests.factories import Person, jpeg
from tests.listings import stays


def connect(page: Any, pms: FakeHostaway) -> None:
    """Connect an account as an admin does."""
    page.get_by_role("link", name="Connect a PMS").click()
    page.get_by_role("link", name="Connect Hostaway").click()
    page.get_by_label("Account ID").fill(pms.credentials["clientId"])
    page.get_by_label("API key").fill(pms.credentials["clientSecret"])
    page.get_by_label("Name").fill("Sea Stays")
    page.get_by_text("More").click()
    page.get_by_label("Address").fill(pms.base_url)
    page.get_by_role("button", name="Connect and sync").click()
    page.wait_for_url("**/listings?provider=hostaway")


def switch(page: Any) -> Any:
    return page.get_by_role("switch", name="Image CDN for Hostaway")


def card(page: Any) -> Any:
    return page.locator("#int-hostaway")


def test_an_account_is_connected_and_its_copies_appear_live(open_page: Callable[[str], Any], pms: FakeHostaway) -> None:
    page = open_page("/properties")
    page.get_by_role("link", name="Listings", exact=True).click()
    connect(page, pms)
    page.locator(".job", has_text="Sea Stays").get_by_text("Starts in a moment").wait_for()
    page.evaluate("window.isTheSame = true")
    with at_work(jobs.SYNC, jobs.CDN):
        page.locator("tr", has_text="Heron House 1").wait_for()
        page.locator(".job .badge", has_text="Synced").wait_for()
        assert "Off. The PMS’s own links are used" in card(page).inner_text()
        switch(page).click()
        page.locator(".toast", has_text="the rest are being copied").wait_for()
        card(page).get_by_text("All 15 copied").wait_for()
    assert page.locator("td .badge", has_text="All copied").count() == 3
    assert page.evaluate("window.isTheSame")


@pytest.mark.slow
def test_the_switch_works_by_keyboard_and_restores_the_copies_immediately(
    open_page: Callable[[str], Any], account: IntegrationAccount, pms: FakeHostaway
) -> None:
    downloads = pms.count("/pictures/")
    page = open_page("/listings")
    with at_work(jobs.SYNC, jobs.CDN):
        switch(page).focus()
        page.keyboard.press("Space")
        card(page).get_by_text("Off. 15 copies are kept").wait_for()
        assert switch(page).get_attribute("aria-checked") == "false"
        assert page.locator("td .badge", has_text="Off").count() == 3
        assert page.evaluate("document.activeElement.getAttribute('role')") == "switch", "the focus stays"
        page.keyboard.press("Enter")
        card(page).get_by_text("All 15 copied").wait_for()
        page.locator("#int-hostaway .int-s", has_text="Synced").wait_for()
    assert pms.count("/pictures/") == downloads


@pytest.mark.slow
def test_a_sync_is_followed_page_by_page(
    open_page: Callable[[str], Any], alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarter_turns = threading.Semaphore(0)  # each lets one more listing through

    def wait(listing: dict[str, Any]) -> dict[str, Any]:
        quarter_turns.acquire(timeout=15)
        return listing

    monkeypatch.setattr(hostaway, "PER_PAGE", 1)
    pms.twist = wait
    stays.connected(alice.workspace, pms, enabled=False)
    page = open_page("/listings?provider=hostaway")
    with at_work(jobs.SYNC):
        page.get_by_text("Reading the first page").wait_for()
        for done in (1, 2):
            quarter_turns.release()
            page.get_by_text(f"{done} of 3 listings").wait_for()
            page.locator("tbody tr").nth(done - 1).wait_for()
        assert page.get_by_role("progressbar").get_attribute("aria-valuenow") == "67"
        assert "Syncing now, 67%" in card(page).inner_text()
        quarter_turns.release()
        page.locator(".job .badge", has_text="Synced").wait_for()
        pms.twist = lambda listing: {**listing, "name": f"{listing['name']} renamed"}
        page.get_by_role("button", name="Sync now: Hostaway").focus()
        page.keyboard.press("Enter")
        page.locator("tr", has_text="Heron House 1 renamed").wait_for()
        page.locator(".job .badge", has_text="Synced").wait_for()
        assert page.evaluate("document.activeElement.id").startswith("sync-"), "the focus stays"
    assert page.evaluate("window.isTheSame")


@pytest.mark.slow
def test_an_account_gets_another_key_and_its_listings_stay(
    open_page: Callable[[str], Any], account: IntegrationAccount, pms: FakeHostaway
) -> None:
    integrations.change(account, credentials={"clientSecret": "expired"})
    sync.run()
    page = open_page("/listings?provider=hostaway")
    page.locator(".job", has_text="Hostaway rejected these credentials.").wait_for()
    page.get_by_role("link", name="Edit Hostaway").click()
    assert page.get_by_label("Account ID").input_value() == pms.credentials["clientId"]
    assert page.get_by_label("API key").input_value() == ""
    page.get_by_label("Name").fill("Sea Stays")
    page.get_by_label("API key").fill(pms.credentials["clientSecret"])
    with at_work(jobs.SYNC):
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/listings?provider=hostaway")
        page.locator(".job", has_text="Sea Stays").locator(".badge", has_text="Synced").wait_for()
    assert page.locator(".job-e").count() == 0
    assert page.locator("td .badge", has_text="All copied").count() == 3


@pytest.mark.slow
def test_listings_are_searched_while_typing(open_page: Callable[[str], Any], account: IntegrationAccount) -> None:
    page = open_page("/listings")
    page.get_by_label("Search listings").click()
    page.keyboard.type("mill", delay=30)
    page.locator("tr", has_text="Heron House").wait_for(state="detached")
    assert page.locator("tbody tr").count() == 1
    go_on(page)  # what is typed stays
    assert page.locator("#find").input_value() == "mill"
    assert page.evaluate("document.activeElement.id") == "find"
    assert page.url.endswith("?q=mill")
    page.locator("#find").fill("nowhere")
    page.get_by_text("Nothing found").wait_for()
    page.get_by_role("link", name="Show all listings").click()
    page.get_by_role("link", name="All copied").click()
    page.locator("tbody tr").nth(2).wait_for()
    assert page.locator("tbody tr").count() == 3
    page.get_by_role("link", name="Waiting").click()
    page.get_by_text("Nothing is waiting").wait_for()


@pytest.mark.slow
def test_everything_works_without_javascript(
    tab: Callable[..., Any], sign_in: Callable[[Any, Person], None], alice: Person, pms: FakeHostaway
) -> None:
    def until(text: str, where: str = "main") -> None:
        for _ in range(100):
            if page.locator(where, has_text=text).count():
                return
            page.wait_for_timeout(100)
            page.reload()
        raise AssertionError(f"{text} does not come")

    pms.fail_next(1, 404, below="/pictures/2/2.jpg")
    page = tab(java_script_enabled=False)
    sign_in(page, alice)
    page.goto("/listings")
    connect(page, pms)
    with at_work(jobs.SYNC, jobs.CDN):
        until("Synced just now")
        switch(page).click()
        until("14 copied, 1 failed")
        page.get_by_role("link", name=re.compile("^Failed")).click()
        page.get_by_role("link", name="Mill Loft 2").click()
        page.get_by_role("button", name="Try again: picture 02").click()
        until("Copied", "tbody tr:nth-child(3)")
        page.get_by_role("link", name="Listings", exact=True).first.click()
        page.get_by_label("Search listings").fill("dune")
        page.get_by_label("Search listings").press("Enter")
        page.wait_for_load_state()
        assert page.locator("tbody tr").count() == 1
        page.locator("#int-hostaway h2 a").click()
        page.get_by_role("button", name="Sync now: Sea Stays").click()
        until("Synced just now")
    page.get_by_role("link", name="Remove Sea Stays").click()
    page.get_by_role("button", name="Remove account and 3 listings").click()
    assert "No account is connected" in page.locator("main").inner_text()
    assert db.session.query(Listing).all() == []


def move_away(page: Any) -> None:
    """Change the address without typing the key."""
    page.locator("#f-baseUrl").fill("https://elsewhere.example/v1")
    page.get_by_role("button", name="Save").click()
    page.locator(".notice[data-s=fail]").wait_for()


def refuse(page: Any) -> None:
    """Connect the same account a second time."""
    page.get_by_text("More").click()
    for name, value in stays.NOWHERE.items():
        page.locator(f"#f-{name}").fill(value)
    page.get_by_role("button", name="Connect and sync").click()
    page.locator(".notice[data-s=fail]").wait_for()


def flip(page: Any) -> None:
    """Switch the Image CDN on or off."""
    was = switch(page).get_attribute("aria-checked")
    switch(page).click()
    page.locator(f"[role=switch]:not([aria-checked={was}])").wait_for()


def nothing(page: Any) -> None: ...


NOTHING = ""  # is new in a state: it is only checked where each state is checked as a whole
STATES: dict[str, tuple[str, Callable[[Any], None], str]] = {  # as in test_every_page.py
    "listings": ("/listings", nothing, WHOLE),
    "integration": ("/listings?provider=hostaway", nothing, "main"),
    "nothing found": ("/listings?q=nowhere", nothing, NOTHING),
    "listing": ("/listings/{listing}", lambda page: page.locator("summary", has_text="No longer at").click(), WHOLE),
    "filtered": ("/listings/{listing}?state=copied", nothing, NOTHING),
    "choose": ("/listings/connect", nothing, "main"),
    "connect": ("/listings/connect/hostaway", refuse, "main"),
    "edit": ("/listings/accounts/{account}/edit", nothing, NOTHING),
    "edit refused": ("/listings/accounts/{account}/edit", move_away, "main"),
    "switched": ("/listings", flip, "main"),
    "off": ("/listings?provider=hostaway", nothing, NOTHING),
    "listing off": ("/listings/{listing}", nothing, "main"),
    "on": ("/listings", flip, NOTHING),
    "remove": ("/listings/accounts/{account}/remove", nothing, "main"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "is_thorough"), LOOKS)
def test_no_state_has_an_accessibility_barrier(
    tab: Callable[..., Any],
    sign_in: Any,
    alice: Person,
    theme: str,
    is_thorough: bool,
    complaints: list[str],
) -> None:
    page = tab(color_scheme=theme)
    resize(page, 390 if is_thorough else 1440)
    sign_in(page, alice)
    page.goto("/listings")
    found = [f"none: {barrier}" for barrier in found_by_axe(page)]
    listing = stays.listed(alice.workspace, "Heron House by the lake, the long name of it", pictures=4)
    for position in (1, 3):
        stays.copied(listing, jpeg(), position=position)
    stays.failed(listing, position=2, reason="PMS image can't be fetched: The server's certificate is not valid")
    stays.gone(listing, position=3)
    stays.broken(stays.account_of(listing), "Hostaway rejected these credentials.")
    for state, (path, act, part) in STATES.items():
        if part == NOTHING and not is_thorough:
            continue
        page.goto(path.format(listing=listing.uuid, account=stays.account_of(listing).uuid))
        act(page)
        found += [f"{state} at {barrier}" for barrier in barriers(page, theme, None if is_thorough else part)]
    assert found == []
    complaints[:] = [said for said in complaints if "status of 4" not in said]  # one of the states shows a refusal
