"""Fixtures for tests of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from portal.db import db
from portal.images import gallery
from portal.images.models import Image, Property
from portal.listings.models import Listing, ListingImage
from tests import factories
from tests.accounts.conftest import quick_passwords
from tests.apart import apart
from tests.factories import Person
from tests.listings import stays

__all__ = ["apart", "quick_passwords", "statements"]

HTMX = {"HX-Request": "true"}
FRAGMENT = HTMX | {"HX-Request-Type": "partial"}


@pytest.fixture
def photos(home: Property) -> list[Image]:
    """Four photos that are named after their position."""
    return [factories.photo_in(home, factories.jpeg(60, 40), name=f"{n}.jpg") for n in range(4)]


@pytest.fixture
def listing(alice: Person) -> Listing:
    """Four pictures: the thumbnail and the first wait, one is copied, one failed."""
    listing = stays.listed(alice.workspace, pictures=3)
    stays.copied(listing, factories.jpeg(), position=1)
    stays.failed(listing, position=2)
    return listing


@pytest.fixture
def statements(app: Flask) -> Callable[..., int]:
    """Call a function and count the database statements it executes."""

    def count(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        said: list[str] = []

        def note(*seen: Any) -> None:
            said.append(seen[2])

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            function(*args, **kwargs)
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        return len(said)

    return count


def gallery_url(home: Property) -> str:
    """Return the path of a property's gallery."""
    return f"/properties/{home.uuid}/photos"


def names(home: Property) -> str:
    """Return the first letters of the photos' names, in the order of the gallery."""
    db.session.rollback()  # end the transaction, to read fresh rows
    return "".join(image.file_name[0] for image in gallery.images(home))


def path_of(listing: Listing) -> str:
    """Return the path of a listing's page."""
    return f"/listings/{listing.uuid}"


def image_of(listing: Listing, position: int) -> ListingImage:
    """Return the record of the picture at this position, as it is now."""
    db.session.rollback()
    return next(one for one in stays.images(listing) if (one.type, one.position) == ("GALLERY", position))
