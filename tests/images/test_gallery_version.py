"""A gallery's version: any of its parts increments it and sends one event, whoever changed it."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from portal.db import db
from portal.images import deletion, edit, gallery, order
from portal.images.edit import Change
from portal.images.models import Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests.images.galleries import added, arranged, finished, now_in


@pytest.fixture
def home(home: Property) -> Property:
    """Three photos, and a webhook that listens."""
    finished(home, 3)
    endpoints.create(home.workspace, "https://example.com/hook", ["property.updated"])
    return home


def version_and_events(home: Property) -> tuple[int, int]:
    db.session.rollback()
    return home.gallery_version, db.session.scalar(select(func.count(Delivery.id))) or 0


def named(home: Property, *places: int) -> list[str]:
    rows = gallery.images(home)
    return [str(rows[place].uuid) for place in places]


def arrange(home: Property, *places: int, main: int) -> Change:
    rows = gallery.images(home)
    return Change(arranged=arranged(home, [rows[place].id for place in places], rows[main].id))


CHANGES: dict[str, Callable[[Property], object]] = {  # one after the other
    "rotated": lambda home: edit.rotate(home, named(home, 1), 1),
    "added": lambda home: edit.apply(home, Change(added=[added()])),
    "another cover": lambda home: edit.apply(home, arrange(home, 0, 1, 2, main=2)),
    "arranged": lambda home: edit.apply(home, arrange(home, 0, 2, 1, main=0)),
    "reordered": lambda home: order.reorder(home, named(home, 0, 2, 1)),
    "moved": lambda home: order.move(home, *named(home, 1, 2)),
    "made the cover": lambda home: order.make_cover(home, *named(home, 2)),
    "deleted": lambda home: deletion.delete(home, named(home, 2)),
    "all deleted": lambda home: deletion.delete(home, named(home, 0, 1, 2)),
}
NO_CHANGES: dict[str, Callable[[Property], object]] = {
    "arranged": lambda home: edit.apply(home, arrange(home, 0, 1, 2, main=0)),
    "reordered": lambda home: order.reorder(home, named(home, 0, 1, 2)),
    "moved": lambda home: order.move(home, *named(home, 1, 0)),
    "made the cover": lambda home: order.make_cover(home, *named(home, 0)),
    "deleted": lambda home: deletion.delete(home, ["of nobody"]),
}


def growth_after(home: Property, action: Callable[[Property], object]) -> tuple[int, int]:
    """By how much the version and the number of events grew."""
    version, events = version_and_events(home)
    action(home)
    now_in(home)
    after = version_and_events(home)
    return after[0] - version, after[1] - events


def test_each_change_increments_the_version_and_sends_one_event(home: Property) -> None:
    found = {what: growth_after(home, action) for what, action in CHANGES.items()}
    assert found == dict.fromkeys(CHANGES, (1, 1))
    assert now_in(home) == []


def test_a_change_of_nothing_does_neither(home: Property) -> None:
    found = {what: growth_after(home, action) for what, action in NO_CHANGES.items()}
    assert found == dict.fromkeys(NO_CHANGES, (0, 0))


def test_a_deleted_cover_is_restored_as_the_cover(home: Property) -> None:
    first = named(home, 0)
    token = deletion.delete(home, first, undoable=True).undo_token
    version, events = version_and_events(home)
    deletion.undelete(home, token or "")
    assert version_and_events(home) == (version + 1, events + 1)
    assert [image.is_main for image in now_in(home)] == [True, False, False]
    assert named(home, 0) == first


def test_a_new_property_name_sends_an_event_and_keeps_the_gallerys_version(home: Property) -> None:
    version, events = version_and_events(home)
    edit.apply(home, Change(fields={"name": "Barn"}))
    assert version_and_events(home) == (version, events + 1)
