"""The listings page: integrations with their switch and their accounts, filters, paging, syncs."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copies, integrations, sync
from portal.listings.models import IntegrationDefinition, Listing
from portal.pages import listings as listings_page
from portal.pages.listings import PAGE
from portal.work import work
from tests.factories import Person, jpeg
from tests.listings import stays
from tests.pages.conftest import HTMX

HTML_BUDGET = 12 * 1024  # bytes, gzipped
Statements = Callable[..., int]
SWITCH = "/listings/integrations/hostaway/switch"


def definition() -> IntegrationDefinition:
    db.session.rollback()
    return db.session.query(IntegrationDefinition).one()


def test_without_an_integration_there_is_one_sentence_and_one_button(alice: Person, bob: Person) -> None:
    page = alice.browser().get("/listings").text
    assert "No PMS connected yet" in page
    assert page.count('href="/listings/connect"') == 1
    assert "<table" not in page and 'id="find"' not in page and "Sync" not in page
    page = bob.browser().get("/listings").text
    assert "Ask an admin" in page and "/listings/connect" not in page


def test_a_card_shows_the_state_of_the_pictures(alice: Person, listing: Listing) -> None:
    page = alice.browser().get("/listings").text
    assert "1 account, 1 listing" in page
    assert 'aria-label="1 copied, 1 failed, 2 waiting"' in page
    for state, number in (("live", 1), ("fail", 1), ("sync", 2)):
        assert f'<i data-s="{state}" style="--n:{number}"></i>' in page
    assert "Synced just now" in page
    assert 'role="switch" aria-checked="true" aria-label="Image CDN for Hostaway"' in page


def test_a_row_shows_the_state_of_a_listing(alice: Person, listing: Listing) -> None:
    page = alice.browser().get("/listings").text
    assert f'href="/listings/{listing.uuid}"' in page
    assert "1 failed" in page and "2 waiting" in page
    assert 'class="wide" data-ch="Copies"' in page, "on a phone the state is next to its label"
    for position in (0, 2):
        stays.copied(listing, jpeg(), position=position)
    with work():
        thumbnail = next(image for image in stays.images(listing) if image.type == "THUMBNAIL")
        thumbnail.failure_reason = "Gone"
        listing.failed, listing.waiting = 0, 0
    assert "All copied</span>" in alice.browser().get("/listings").text


def test_the_cover_is_a_small_rendition_of_ours(alice: Person, listing: Listing) -> None:
    browser = alice.browser()
    assert "<img" not in browser.get("/listings").text, "the first picture has no copy yet"
    image = stays.copied(listing, jpeg())
    page = browser.get("/listings").text
    assert f'src="/listings/{listing.uuid}/pictures/{image.uuid}/preview?v={image.image_hash}"' in page
    assert "pms.example" not in page


FOUND = [
    ("state=failed", ["Mill Loft"]),
    ("state=waiting", ["Mill Loft", "Dune Cabin"]),
    ("state=copied", ["Orchard Barn"]),
    ("q=mill", ["Mill Loft"]),
    ("q=CABIN+1", ["Dune Cabin"]),
    ("provider=hostaway", ["Mill Loft", "Dune Cabin", "Orchard Barn"]),
    ("provider=hostaway&state=failed&q=loft", ["Mill Loft"]),
    ("state=failed&q=cabin", []),
]


def test_filters_and_search(alice: Person, subtests: pytest.Subtests) -> None:
    stays.failed(stays.listed(alice.workspace, "Mill Loft"))
    stays.listed(alice.workspace, "Dune Cabin")
    barn = stays.listed(alice.workspace, "Orchard Barn", pictures=1)
    with work():
        barn.copied, barn.waiting = 2, 0
    browser, names = alice.browser(), ("Mill Loft", "Dune Cabin", "Orchard Barn")
    for query, shown in FOUND:
        with subtests.test(query=query):
            page = browser.get(f"/listings?{query}", headers=HTMX).text
            assert [name for name in names if f"<bdi>{name}</bdi>" in page] == shown
            assert ("Nothing" in page) == (not shown)
            assert ("No listing in this filter has “cabin”" in page) == (not shown)


def test_the_chips_count_listings_whose_switch_is_on(alice: Person, listing: Listing) -> None:
    browser = alice.browser()
    page = browser.get("/listings").text
    assert "All <b>1</b>" in page and "Failed <b>1</b>" in page and "Waiting <b>1</b>" in page
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    page = browser.get("/listings").text
    assert "All <b>1</b>" in page and "Failed <b>0</b>" in page and "Waiting <b>0</b>" in page


def test_invalid_filters_are_refused(alice: Person, subtests: pytest.Subtests) -> None:
    browser = alice.browser()
    for query in ("state=lost", "after=x", "provider=none", "provider=%C3%A9"):
        with subtests.test(query=query):
            assert browser.get(f"/listings?{query}").status_code == 422


def test_pages_lead_to_each_other(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAGE == 50
    monkeypatch.setattr(listings_page, "PAGE", 3)
    for number in range(4):
        stays.listed(alice.workspace, f"House {number:02}", pictures=0)
    browser = alice.browser()
    first = browser.get("/listings?provider=hostaway").text
    assert "House 00" in first and "House 03" not in first and "4 listings" in first
    link = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = browser.get(link).text
    assert "House 03" in second and "House 00" not in second
    assert 'href="/listings?provider=hostaway" rel="prev"' in second


def test_polling_gets_304_until_something_changes_and_is_quick_meanwhile(alice: Person, listing: Listing) -> None:
    browser = alice.browser()
    first = browser.get("/listings", headers=HTMX)
    assert first.text.startswith('<div class="page" id="listings-live"')
    assert 'hx-trigger="tick from:body"' in first.text
    tag = HTMX | {"HX-PTag": first.headers["HX-PTag"]}
    assert browser.get("/listings", headers=tag).status_code == 304
    stays.failed(listing)
    assert browser.get("/listings", headers=tag).status_code == 200
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    assert 'hx-trigger="slow-tick from:body"' in browser.get("/listings", headers=HTMX).text


def test_the_switch_can_be_turned_off_and_on(alice: Person, listing: Listing) -> None:
    browser = alice.browser()
    answer = browser.post(SWITCH, data={"on": "0", "provider": "hostaway"}, headers=HTMX)
    assert not definition().enable_images_cdn
    assert 'aria-checked="false"' in answer.text and "Off. 1 copy is kept" in answer.text
    assert "copies are kept" in answer.headers["HX-Trigger"]
    assert "Off</span>" in answer.text, "in the row, too"
    assert 'id="account-' in answer.text, "a row that had one keeps one"
    answer = browser.post(SWITCH, data={"on": "1", "state": "failed"})
    assert definition().enable_images_cdn
    assert (answer.status_code, answer.location) == (303, "/listings?state=failed")


def test_a_provider_that_is_not_connected_has_no_switch(alice: Person) -> None:
    assert alice.browser().post(SWITCH, data={"on": "1"}).status_code == 404
    assert alice.browser().post(SWITCH.replace("hostaway", "none"), data={"on": "1"}).status_code == 404
    assert db.session.query(IntegrationDefinition).count() == 0


def test_a_sync_shows_its_progress(alice: Person, bob: Person, listing: Listing) -> None:
    account = stays.account_of(listing)
    browser = bob.browser()
    answer = browser.post(f"/listings/accounts/{account.uuid}/sync", data={"provider": "hostaway"}, headers=HTMX)
    assert "Starts in a moment" in answer.text
    assert re.search(r'aria-label="Sync now: [^"]+" aria-disabled="true"', answer.text)
    with work():
        account.started_at, account.found, account.total, account.pages = now(), 312, 1240, 4
    page = browser.get("/listings?provider=hostaway", headers=HTMX).text
    assert "Syncing now, 25%" in page and "312 of 1,240 listings" in page and "Page 5" in page
    assert 'aria-valuenow="25"' in page
    with work():
        account.total = None
    assert "312 listings so far" in browser.get("/listings?provider=hostaway").text


def test_the_limit_of_uploads_per_sync_is_shown_when_exceeded(alice: Person, listing: Listing) -> None:
    with work():
        stays.account_of(listing).uploads = 41_000
    assert (
        "41,000 new images. Each sync copies up to 20,000 of them."
        in alice.browser().get("/listings?provider=hostaway").text
    )
    with work():
        stays.account_of(listing).uploads = 20_000
    assert "Each sync copies" not in alice.browser().get("/listings?provider=hostaway").text


def test_errors_are_shown_on_the_card_and_at_the_account(alice: Person, listing: Listing) -> None:
    account = stays.account_of(listing)
    with work():
        account.name, account.error, account.failures = "Sea <Stays>", "The server answered 500.", 1
        account.synced_at, account.next_at = None, now() + timedelta(minutes=29, seconds=30)
    page = alice.browser().get("/listings?provider=hostaway").text
    assert page.count("The server answered 500.") == 2
    assert "next sync in 29 min" in page and "Listings synced earlier are unchanged" not in page
    with work():
        account.synced_at, account.started_at = now(), now()
    assert "next try in 29 min" in alice.browser().get("/listings?provider=hostaway").text
    with work():
        account.started_at = None
    page = alice.browser().get("/listings?provider=hostaway").text
    assert "Listings synced earlier are unchanged" in page
    assert "Sea &lt;Stays&gt;" in page and "<Stays>" not in page


def test_all_or_only_the_shown_accounts_can_be_synced(alice: Person, listing: Listing) -> None:
    account = stays.account_of(listing)
    browser = alice.browser()
    for data, location in (({}, "/listings"), ({"provider": "hostaway"}, "/listings?provider=hostaway")):
        with work():
            account.next_at = now() + timedelta(hours=1)
        assert browser.post("/listings/sync", data=data).location == location
        db.session.refresh(account)
        assert account.next_at and account.next_at <= now()
    with work():
        account.next_at = now() + timedelta(hours=1)
    browser.post("/listings/sync", data={"provider": "guesty"})
    db.session.refresh(account)
    assert account.next_at > now()


def test_bob_can_look_but_not_manage(bob: Person, alice: Person, listing: Listing) -> None:
    page = bob.browser().get("/listings?provider=hostaway").text
    assert "Heron House" in page and "Sync now" in page
    for word in ('role="switch"', "/connect", "Remove"):
        assert word not in page
    assert bob.browser().post(SWITCH, data={"on": "0"}).status_code == 403
    assert definition().enable_images_cdn


def test_charlie_sees_and_changes_nothing(alice: Person, charlie: Person, listing: Listing) -> None:
    browser = charlie.browser()
    for path in ("/listings", "/listings?q=heron", "/listings?state=failed", "/listings?provider=hostaway"):
        page = browser.get(path).text
        assert "Heron" not in page.replace("heron", "") and "No PMS connected yet" in page
    before = stays.account_of(listing).next_at
    assert browser.post(SWITCH, data={"on": "0"}).status_code == 404
    browser.post("/listings/sync")
    db.session.expire_all()
    assert (definition().enable_images_cdn, stays.account_of(listing).next_at) == (True, before)
    stays.listed(charlie.workspace, "Corvid Nest")
    browser.post(SWITCH, data={"on": "0"})
    db.session.rollback()
    switches = {one.workspace_id: one.enable_images_cdn for one in db.session.query(IntegrationDefinition)}
    assert switches == {alice.workspace.id: True, charlie.workspace.id: False}


def test_statements_do_not_grow_with_the_listings(alice: Person, listing: Listing, statements: Statements) -> None:
    browser = alice.browser()
    paths = ("/listings", "/listings?provider=hostaway&state=failed&q=o")
    few = [statements(browser.get, path, headers=HTMX) for path in paths]
    for number in range(5):
        stays.failed(stays.listed(alice.workspace, f"House {number}", pictures=5))
        integrations.connect(
            alice.workspace, "hostaway", stays.NOWHERE | {"clientId": f"more {number}"}, name=f"Account {number}"
        )
    assert [statements(browser.get, path, headers=HTMX) for path in paths] == few
    assert max(few) <= 8


@pytest.mark.slow
def test_a_page_of_fifty_listings_stays_small(alice: Person) -> None:
    for number in range(PAGE):
        stays.copied(stays.listed(alice.workspace, f"House by the lake {number}", pictures=1), jpeg(8, 8))
    html = alice.browser().get("/listings").data
    assert html.count(b"/preview?v=") == PAGE
    assert len(gzip.compress(html, 9)) <= HTML_BUDGET


def test_a_whole_sync_on_the_page(alice: Person) -> None:
    """From the fake PMS to the page: the result of `Sync now`."""
    with FakeHostaway() as pms:
        pms.is_limited = False
        stays.connected(alice.workspace, pms)
        browser = alice.browser()
        assert "Starts in a moment" in browser.get("/listings?provider=hostaway").text
        sync.run()
        page = browser.get("/listings").text
        assert "0 copied, 15 waiting" in page and page.count('<tr id="listing-') == 3
        copies.run()
        page = browser.get("/listings").text
    assert "All 15 copied" in page and page.count("All copied</span>") == 3
    assert pms.credentials["clientSecret"] not in page
