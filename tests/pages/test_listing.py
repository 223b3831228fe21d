"""The page of one listing: its pictures at the PMS, their copies, and what is shown of both."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

import pytest
from sqlalchemy import update

from portal.db import db, reload
from portal.demo.pms.hostaway import FakeHostaway
from portal.images.models import Property
from portal.listings import counts, integrations
from portal.listings.models import WITH_ACCOUNT, Listing, ListingImage
from portal.listings.substitution import cdn_url
from portal.listings.sync import detection
from portal.work import work
from tests.factories import Person, jpeg
from tests.listings import stays
from tests.pages.conftest import HTMX, image_of, path_of

HTML_BUDGET = 12 * 1024  # bytes, gzipped


def rows(page: str) -> list[str]:
    return page.split('<tr id="picture-')[1:]


def test_there_is_a_row_for_each_picture_with_the_thumbnail_first(alice: Person, listing: Listing) -> None:
    page = alice.browser().get(path_of(listing)).text
    thumbnail, first, second, third = rows(page)
    assert "Thumbnail" in thumbnail and "Waiting" in thumbnail
    assert "View 0" in first and 'href="https://pms.example/Heron-House/0.jpg"' in first and "Waiting" in first
    image = image_of(listing, 1)
    for words in ("View 1", "640 × 480", "Copied", f'href="{cdn_url(image)}"', "<s>", 'rel="noreferrer"'):
        assert words in second
    assert f'src="/listings/{listing.uuid}/pictures/{image.uuid}/preview?v={image.image_hash}"' in second
    assert "Failed" in third and "PMS image returns 404." in third and "Try again" in third
    assert "delivered as" in page and cdn_url(image) in page.partition('id="links"')[2].partition("</pre>")[0]


@pytest.mark.parametrize(
    ("pictures", "has_thumbnail", "said", "number"),
    [
        (8, True, "9 images: 8 pictures and the thumbnail", 9),
        (1, True, "2 images: 1 picture and the thumbnail", 2),
        (8, False, "8 pictures", 8),
        (0, True, "1 image: the thumbnail", 1),
    ],
)
def test_the_thumbnail_counts_and_says_so(
    alice: Person, pictures: int, has_thumbnail: bool, said: str, number: int
) -> None:
    listing = stays.listed(alice.workspace, pictures=pictures)
    with work() as w:
        listing.thumbnail_url = "https://pms.example/thumbnail.jpg" if has_thumbnail else None
        db.session.flush()
        reload([listing], WITH_ACCOUNT)
        detection.detect(w, [listing])
        counts.refresh([listing.id])
    browser = alice.browser()
    page = browser.get(path_of(listing)).text
    assert said in " ".join(page.partition('class="sub"')[2].partition("</p>")[0].split())
    assert f"All <b>{number}</b>" in page
    assert f"The listing has {said}." in browser.get(f"{path_of(listing)}?state=copied").text
    page = browser.get("/listings").text
    assert f'data-ch="Images">{number}<' in page and f"{number} waiting" in page and f"{number} waiting" in page


def test_sizes_are_compared_only_if_they_differ(alice: Person) -> None:
    listing = stays.listed(alice.workspace)
    image = stays.copied(listing, jpeg())
    assert "delivered as" in alice.browser().get(f"/listings/{listing.uuid}").text
    with work():
        image.original_bytes = image.delivered_bytes
    page = alice.browser().get(f"/listings/{listing.uuid}").text
    assert "delivered as" not in page and re.search(r"[0-9] k?B copied", page)


def test_a_failure_after_a_success_says_that_the_old_copy_is_used(alice: Person, listing: Listing) -> None:
    stays.failed(listing, position=1)
    row = rows(alice.browser().get(path_of(listing)).text)[2]
    assert "The earlier copy is still used." in row and cdn_url(image_of(listing, 1)) in row


def test_an_invalid_address_is_shown_as_it_is(alice: Person, listing: Listing, subtests: pytest.Subtests) -> None:
    browser = alice.browser()
    for url in ("http://[/1.jpg", "https://a]b/1.jpg", "https://\u2100.example/", "https://h:x/'><svg onload=1>"):
        with subtests.test(url=url):
            with work():
                listing.pictures = [{"url": url, "description": "<b>"}]
                listing.thumbnail_url = url
            response = browser.get(path_of(listing))
            assert response.status_code == 200
            assert "<svg onload" not in response.text
            assert "<bdi><b>" not in response.text


def test_pictures_are_filtered(alice: Person, listing: Listing, subtests: pytest.Subtests) -> None:
    browser = alice.browser()
    for query, shown in (("", 4), ("?state=failed", 1), ("?state=waiting", 2), ("?state=copied", 1)):
        with subtests.test(query=query):
            assert len(rows(browser.get(path_of(listing) + query, headers=HTMX).text)) == shown


def test_a_filter_that_finds_nothing_says_so(alice: Person) -> None:
    listing = stays.listed(alice.workspace)
    page = alice.browser().get(f"{path_of(listing)}?state=failed").text
    assert "Nothing failed" in page and "Show all pictures" in page
    assert alice.browser().get(f"{path_of(listing)}?state=lost").status_code == 422


def test_a_listing_without_pictures_says_so(alice: Person) -> None:
    page = alice.browser().get(path_of(stays.listed(alice.workspace, pictures=0))).text
    assert "No pictures yet" in page and "Create a property" not in page


def test_while_the_switch_is_off_the_pms_urls_are_shown(alice: Person, listing: Listing) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    page = alice.browser().get(path_of(listing)).text
    assert page.count(">Off</span>") == 4 and "The Image CDN is off" in page and "Try again" not in page
    with work():
        db.session.query(ListingImage).delete()
    page = alice.browser().get(path_of(listing)).text
    assert len(rows(page)) == 4 and page.count(">Off</span>") == 4, "pictures that were never detected, too"


def test_pictures_no_longer_at_the_pms_are_listed_separately(alice: Person, listing: Listing) -> None:
    gone = stays.gone(listing, position=1)
    page = alice.browser().get(path_of(listing)).text
    current, _, former = page.partition("No longer at Hostaway: 1 picture")
    assert (len(rows(current)), len(rows(former))) == (3, 1)
    assert "Gone 3 days ago" in former and cdn_url(gone) in former
    assert "No longer" not in alice.browser().get(f"{path_of(listing)}?state=failed").text


def test_polling_gets_304_until_something_changes_and_is_quick_meanwhile(alice: Person, listing: Listing) -> None:
    browser = alice.browser()
    first = browser.get(path_of(listing), headers=HTMX)
    assert first.text.startswith('<div class="page" id="listing-live"')
    assert 'hx-trigger="tick from:body"' in first.text
    tag = HTMX | {"HX-PTag": first.headers["HX-PTag"]}
    assert browser.get(path_of(listing), headers=tag).status_code == 304
    stays.failed(listing)
    assert browser.get(path_of(listing), headers=tag).status_code == 200
    with work():
        db.session.execute(update(ListingImage).values(failure_reason="Gone"))
    assert 'hx-trigger="slow-tick from:body"' in browser.get(path_of(listing), headers=HTMX).text


def test_charlie_cannot_find_a_listing_of_alices(alice: Person, charlie: Person, listing: Listing) -> None:
    stays.copied(listing, jpeg())
    browser, image = charlie.browser(), image_of(listing, 2)
    for path in ("", "?state=failed", f"/pictures/{image_of(listing, 0).uuid}/preview"):
        assert browser.get(path_of(listing) + path).status_code == 404
    for path in ("/property", "/try-again", f"/pictures/{image.uuid}/try-again"):
        assert browser.post(path_of(listing) + path).status_code == 404
    assert image_of(listing, 2).failure_reason
    assert db.session.query(Property).count() == 0


def test_the_number_of_statements_does_not_grow_with_the_pictures(
    alice: Person, listing: Listing, statements: Callable[..., int]
) -> None:
    many = stays.listed(alice.workspace, "Mill Loft", pictures=40)
    for position in range(40):
        stays.failed(many, position=position)
    browser = alice.browser()
    few, more = (statements(browser.get, path_of(one), headers=HTMX) for one in (listing, many))
    assert few == more <= 6


def test_a_page_of_forty_pictures_stays_small(alice: Person) -> None:
    listing = stays.listed(alice.workspace, pictures=40)
    for position in range(40):
        stays.copied(listing, jpeg(8, 8), position=position)
    html = alice.browser().get(path_of(listing)).data
    assert html.count(b"/preview?v=") == 40
    assert len(gzip.compress(html, 9)) <= HTML_BUDGET


def test_texts_of_a_pms_are_escaped(alice: Person) -> None:
    with FakeHostaway() as pms:
        pms.is_limited = False
        pms.catalogue.listings[1].name = "<img src=x onerror=alert(1)>"
        pms.catalogue.listings[1].pictures[0].description = "<script>alert(1)</script>"
        stays.synced(stays.connected(alice.workspace, pms, enabled=False))
    browser = alice.browser()
    for path in ("/listings", path_of(stays.listings()[0])):
        page = browser.get(path).text
        assert "<img src=x" not in page and "<script>alert" not in page and "&lt;img src=x" in page
