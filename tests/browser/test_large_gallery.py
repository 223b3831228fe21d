"""312 photos on a property stay quick, and small on the wire."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import Workspace
from portal.accounts.plans import PLANS, Plan
from portal.db import db, now
from portal.images import gallery
from portal.images.keys import StoragePrefix, uuid_in
from portal.images.models import READY, Image, Property
from portal.work import work
from tests.browser.pages import becomes
from tests.factories import Person

PHOTOS = 312
HTML_BUDGET = 24 * 1024  # bytes, gzipped
ROOMS = ("Kitchen", "Main bedroom", "Courtyard", "Garden side", "Living room", "Bathroom", "Balcony")
VIEWS = ("at dusk", "with an oak island", "from the door", "opening to the deck", "with a view of the lake", "")


@pytest.fixture
def many(alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch) -> Property:
    """Rows only; nothing reads the pixels."""
    monkeypatch.setitem(PLANS, "large", Plan("large", "Large", images_per_property=400, imports_per_month=200))
    with work():
        db.session.get_one(Workspace, alice.workspace.id).plan_name = "large"
        place = StoragePrefix.of(home)
        for number in range(PHOTOS):
            image = Image(
                property_id=home.id, file_name=f"DSC_{number:04}.jpg", type="image/jpeg", size_bytes=2_400_000
            )
            image.key, image.original_key = place.original_key("image/jpeg"), place.original_key("image/jpeg")
            image.uuid, image.width, image.height, image.sha256 = uuid_in(image.key), 4032, 3024, f"{number:064}"
            image.alt_text = f"{ROOMS[number % 7]} {VIEWS[number % 6]} {number}".strip() if number % 9 else None
            image.position, image.is_main, image.placeholder = number, number == 0, (number * 7919) % 2**20 - 2**19
            image.variants, image.pending_since, image.ready_at = READY, None, now()
            db.session.add(image)
    return home


def test_a_page_of_312_photos_stays_small(alice: Person, many: Property) -> None:
    html = alice.browser().get(f"/properties/{many.uuid}/photos").data
    assert html.count(b'<li class="tile"') == PHOTOS
    assert len(gzip.compress(html, 9)) <= HTML_BUDGET


@pytest.mark.slow
def test_one_of_312_photos_is_moved_by_keyboard(
    editor: Callable[[Property], Any], many: Property, complaints: list[str]
) -> None:
    """tests.benchmarks.pages measures how quick that is."""
    page = editor(many)
    page.locator("#photos a.shot").nth(1).focus()
    for key in ("m", "ArrowDown", "ArrowDown", "ArrowRight", "Enter", "ArrowUp", " ", "Escape"):
        page.keyboard.press(key)

    def second() -> str:
        db.session.rollback()  # end the transaction, to read fresh rows
        return gallery.images(many)[1].file_name

    assert becomes(page, second, "DSC_0002.jpg") == "DSC_0002.jpg"
    page.close()
    complaints.clear()  # 404 for each photo: there are no pixels
