"""A property created from a listing whose pictures were copied imports the copies, unless they are lost or damaged."""

from __future__ import annotations

from hashlib import sha256

from portal import properties_from_listings
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import gallery
from portal.images.imports import fetch
from portal.infra import storage
from portal.listings import copies
from portal.listings.copies import repair
from portal.listings.models import GALLERY
from tests import factories
from tests.factories import Person
from tests.listings import stays
from tests.listings.conftest import pms

__all__ = ["pms"]


def test_copied_pictures_come_from_the_copies_although_the_pms_is_down(alice: Person, pms: FakeHostaway) -> None:
    stays.synced(stays.connected(alice.workspace, pms))
    listing, fake = stays.listings()[0], pms.catalogue.listings[1]
    kept = {
        image.position: storage.cdn.get(image.key or "") for image in stays.images(listing) if image.type == GALLERY
    }
    lost = next(image for image in stays.images(listing) if (image.type, image.position) == (GALLERY, 2))
    storage.cdn.delete(lost.key or "")
    pms.fail_next(99, 503, below="/pictures/")
    downloads = pms.count("/pictures/")
    home = properties_from_listings.create(listing)
    fetch.run()
    db.session.rollback()
    assert [(image.sha256, image.alt_text) for image in gallery.images(home)] == [
        (sha256(kept[n] or b"").hexdigest(), fake.pictures[n].description) for n in (0, 1, 3)
    ]
    assert pms.count("/pictures/") > downloads, "a lost copy is fetched from the PMS"


def test_a_damaged_copy_is_not_imported_but_downloaded_again(alice: Person, pms: FakeHostaway) -> None:
    stays.synced(stays.connected(alice.workspace, pms))
    listing, fake = stays.listings()[0], pms.catalogue.listings[1]
    key = next(image.key or "" for image in stays.images(listing) if (image.type, image.position) == (GALLERY, 1))
    storage.cdn.put(key, factories.jpeg(), "image/jpeg")
    downloads = pms.count("/pictures/", 200)
    home = properties_from_listings.create(listing)
    fetch.run()
    db.session.rollback()
    expected = [sha256(picture.bytes()).hexdigest() for picture in fake.pictures]
    assert [image.sha256 for image in gallery.images(home)] == expected
    assert pms.count("/pictures/", 200) == downloads + 1
    assert repair.schedule_marked() == 1
    copies.run()
    assert storage.cdn.get(key) == fake.pictures[1].bytes()
