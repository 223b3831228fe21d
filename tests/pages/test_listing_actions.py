"""What the page of a listing does: retry, create a property, preview a copy."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image as Pillow

from portal import inventory
from portal.db import db, now
from portal.images.models import ImportBudget, ImportItem, Property
from portal.infra import storage
from portal.listings import integrations
from portal.listings.models import Listing
from portal.work import work
from tests.factories import Person, jpeg
from tests.listings import stays
from tests.pages.conftest import HTMX, image_of, path_of


def test_an_editor_retries_a_failed_picture(bob: Person, listing: Listing) -> None:
    browser, path = bob.browser(), f"{path_of(listing)}/pictures/{image_of(listing, 2).uuid}/try-again"
    answer = browser.post(path, data={"state": "failed"}, headers=HTMX)
    assert "Nothing failed" in answer.text
    assert image_of(listing, 2).failure_reason is None
    stays.failed(listing, position=2)
    answer = browser.post(path, data={"state": "failed"})
    assert (answer.status_code, answer.location) == (303, f"{path_of(listing)}?state=failed")
    assert image_of(listing, 2).failure_reason is None


def test_a_picture_that_cannot_be_retried_says_why(alice: Person, listing: Listing) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    path = f"{path_of(listing)}/pictures/{image_of(listing, 2).uuid}/try-again"
    answer = alice.browser().post(path, headers=HTMX)
    assert answer.status_code == 409 and "switched off" in answer.headers["HX-Trigger"]
    assert image_of(listing, 2).failure_reason


def test_all_failures_of_a_listing_are_retried_and_no_others(alice: Person, listing: Listing) -> None:
    other = stays.listed(alice.workspace, "Mill Loft")
    stays.failed(other)
    stays.failed(listing, position=0)
    page = alice.browser().post(f"{path_of(listing)}/try-again", headers=HTMX).text
    assert "Try all again" not in page and page.count("Waiting</span>") == 3
    assert image_of(other, 0).failure_reason
    assert alice.browser().post(f"{path_of(other)}/try-again").location == path_of(other)
    assert image_of(other, 0).failure_reason is None


def test_a_property_is_created_from_a_listing_once(bob: Person, listing: Listing) -> None:
    browser = bob.browser()
    assert "Create a property" in browser.get(path_of(listing)).text
    for _ in range(2):
        answer = browser.post(f"{path_of(listing)}/property")
        made = db.session.query(Property).one()
        assert (answer.status_code, answer.location) == (303, f"/properties/{made.uuid}/photos")
    assert (made.name, made.workspace_id) == ("Heron House", bob.workspace.id)
    urls = [item.url for item in db.session.query(ImportItem).order_by(ImportItem.id)]
    assert urls == [picture["url"] for picture in listing.pictures]
    page = browser.get(path_of(listing)).text
    assert f'href="/properties/{made.uuid}/photos"' in page and "Create a property" not in page


def test_a_property_over_the_monthly_import_budget_is_created_and_says_so(alice: Person, listing: Listing) -> None:
    with work():
        db.session.add(ImportBudget(workspace_id=alice.workspace.id, month=f"{now():%Y-%m}", used=10_000))
    answer = alice.browser().post(f"{path_of(listing)}/property")
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert "Go to the property" in answer.text
    assert db.session.query(Property).count() == 1


def test_pictures_over_the_plan_are_announced_beforehand(alice: Person) -> None:
    page = alice.browser().get(path_of(stays.listed(alice.workspace, pictures=21))).text
    assert "a property takes the first 20" in page


def test_a_preview_is_small_and_cached_forever(alice: Person, listing: Listing) -> None:
    data = jpeg(3000, 2000)
    image = stays.copied(listing, data)
    answer = alice.browser().get(f"{path_of(listing)}/pictures/{image.uuid}/preview?v={image.image_hash}")
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    with Pillow.open(BytesIO(answer.data)) as picture:
        assert picture.size == (200, 133)
    assert len(answer.data) < len(data) / 20


def test_a_preview_of_a_picture_without_a_copy_is_404(alice: Person, listing: Listing) -> None:
    path = f"{path_of(listing)}/pictures/{image_of(listing, 0).uuid}/preview"
    assert alice.browser().get(path).status_code == 404


@pytest.mark.parametrize("data", [None, b"no picture", jpeg(300, 200)], ids=["missing", "garbage", "another picture"])
def test_a_preview_of_a_damaged_copy_is_503_until_it_is_downloaded_again(
    alice: Person, listing: Listing, data: bytes | None
) -> None:
    image = stays.copied(listing, jpeg(640, 480))
    key, path = image.key or "", f"{path_of(listing)}/pictures/{image.uuid}/preview"
    good = storage.cdn.get(key) or b""
    storage.cdn.delete(key)
    if data:
        storage.cdn.put(key, data, "image/jpeg")
    browser = alice.browser()
    for _ in range(2):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "no-store" in answer.headers["Cache-Control"]
    db.session.rollback()
    due = image_of(listing, 0)
    assert due.next_at and due.next_at <= now()
    known = inventory.find(storage.cdn, key)
    assert known and known.damage
    storage.cdn.put(key, good, "image/jpeg")
    assert browser.get(path).status_code == 200
    storage.cdn.delete(key)
    assert browser.get(path).status_code == 200, "a thumbnail of the right bytes is cached by their hash"


def test_a_copy_that_cannot_be_opened_is_read_once(alice: Person, listing: Listing) -> None:
    key = stays.copied(listing, jpeg()[:600]).key or ""
    path = f"{path_of(listing)}/pictures/{image_of(listing, 0).uuid}/preview"
    assert alice.browser().get(path).status_code == 422
    storage.cdn.put(key, jpeg(), "image/jpeg")  # would be opened if it were read again
    assert alice.browser().get(path).status_code == 422
