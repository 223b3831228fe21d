"""Damaged copies of listings' pictures are downloaded again from the PMS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import storage
from portal.listings.models import ListingImage
from portal.work import work
from tests.audit import rubble
from tests.factories import Person
from tests.listings import stays


@pytest.fixture
def pms(alice: Person) -> Iterator[FakeHostaway]:
    """A PMS whose pictures are all copied."""
    with FakeHostaway(listings=1, pictures=3) as pms:
        pms.is_limited = False
        stays.synced(stays.connected(alice.workspace, pms))
        yield pms


def keys() -> list[str]:
    return sorted({key for key in db.session.scalars(select(ListingImage.key)) if key})


def test_a_damaged_copy_is_downloaded_again_byte_for_byte(app: Flask, pms: FakeHostaway) -> None:
    before = {key: storage.cdn.get(key) for key in keys()}
    missing, cut, spoiled = list(before)[:3]
    rubble.delete(storage.cdn, missing)
    rubble.cut(storage.cdn, cut)
    rubble.spoil(storage.cdn, spoiled)
    code, reported = rubble.audit(app, "--repair")
    assert {(each["key"], each["kind"], each["repaired"], each["how"]) for each in reported["findings"]} == {
        (missing, "missing", True, "from_pms"),
        (cut, "length", True, "from_pms"),
        (spoiled, "changed", True, "from_pms"),
    }
    assert (code, reported["left"]) == (0, 0)
    assert {key: storage.cdn.get(key) for key in before} == before
    assert rubble.audit(app)[0] == 0


def test_a_copy_that_the_pms_no_longer_has_is_named_with_the_reason(app: Flask, pms: FakeHostaway) -> None:
    (lost,) = [key for key in keys() if "/gallery/2_" in key]
    rubble.delete(storage.cdn, lost)
    with work():
        elsewhere = update(ListingImage).where(ListingImage.key == lost)
        db.session.execute(elsewhere.values(original_url=f"{stays.PMS}/gone.jpg"))
    code, reported = rubble.audit(app, "--repair")
    (finding,) = reported["findings"]
    assert (code, finding["key"], finding["repaired"], finding["how"]) == (1, lost, False, None)
    assert finding["reason"]
    assert set(rubble.damages()) == {"copy"}
