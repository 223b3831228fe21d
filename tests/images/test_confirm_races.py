"""Confirm while others write: attackers with a URL that still works, and clients that confirm simultaneously."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select

from portal.accounts import plans
from portal.db import db
from portal.errors import Conflict, Invalid, OverQuota
from portal.images import uploads
from portal.images.models import Image, Property, Upload
from portal.images.uploads import UploadedFile
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.conftest import BOTH, Buckets
from tests.images.test_confirm import confirm, images


def test_a_second_put_through_the_same_url_changes_nothing(home: Property) -> None:
    data = factories.jpeg()
    (upload,) = uploads.presign(home, [uploads.AnnouncedFile("a.jpg", "image/jpeg", len(data))])
    url = uploads.url_of(upload)
    factories.put(url, data, "image/jpeg")
    image = confirm(home, UploadedFile(upload.key, "image/jpeg", len(data)))
    assert factories.put(url, bytes(len(data)), "image/jpeg").status_code == 200
    assert storage.uploads.get(image.original_key) == data
    assert confirm(home, UploadedFile(upload.key, "image/jpeg", len(data))).sha256 == image.sha256


@pytest.mark.parametrize("confirms", [10, pytest.param(100, marks=pytest.mark.storm)])
def test_puts_during_and_after_confirm_never_swap_the_picture(home: Property, confirms: int) -> None:
    """The stored bytes are the inspected ones, or the confirm is refused."""
    good = factories.jpeg(160, 120)
    evil = b"<script>" + bytes(len(good) - 8)
    dice = random.Random(1)
    kept = []
    for n in range(confirms):
        (upload,) = uploads.presign(home, [uploads.AnnouncedFile("a.jpg", "image/jpeg", len(good))])
        url, key = uploads.url_of(upload), upload.key
        factories.put(url, good, "image/jpeg")
        with suppress(Invalid, Conflict):
            with attacked(url, [evil, good], dice.random() / 20 if n else 60):  # the first one only after its confirm
                image = confirm(home, UploadedFile(key, "image/jpeg", len(good)))
            kept.append(storage.uploads.get(image.original_key))
        with work():  # the gallery would soon be full, and the number of pending uploads is limited
            db.session.execute(delete(Image))
            db.session.execute(delete(Upload))
    assert kept, "the first must get through"
    assert set(kept) == {good}


@contextmanager
def attacked(url: str, bodies: list[bytes], pause_s: float) -> Iterator[None]:
    """PUT through a URL repeatedly from a thread, and once more when the block has ended."""
    over = threading.Event()

    def attack() -> None:
        over.wait(pause_s)
        is_last = False
        while not is_last:
            is_last = over.is_set()
            for body in bodies:
                factories.put(url, body, "image/jpeg")

    attacker = threading.Thread(target=attack, daemon=True)
    attacker.start()
    try:
        yield
    finally:
        over.set()
        attacker.join(timeout=60)
        assert not attacker.is_alive()


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_twenty_parallel_confirms_of_one_key_make_one_image(
    home: Property, at_once: Callable[..., list[Any]], buckets: Buckets
) -> None:
    arrived = factories.uploaded(home, factories.jpeg())

    def one(property_id: int) -> Any:
        return confirm(db.session.get_one(Property, property_id), arrived).uuid

    answers = at_once(one, *[(home.id,)] * 20)
    made = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(set(made)) == 1
    assert all(isinstance(answer, (Conflict, Invalid)) for answer in answers if answer not in made)
    assert images() == 1
    assert len(buckets.listing()) == 1, "the uploads of the others are deleted"


@pytest.mark.parametrize(("most", "count"), [(5, 12), pytest.param(20, 60, marks=pytest.mark.storm)])
@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_concurrent_duplicate_confirms_fill_the_quota_exactly(
    home: Property,
    at_once: Callable[..., list[Any]],
    buckets: Buckets,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    count: int,
) -> None:
    monkeypatch.setitem(plans.PLANS, "free", replace(plans.PLANS["free"], images_per_property=most))
    arrivals = [factories.uploaded(home, factories.jpeg(64, 48)) for _ in range(count)]

    def one(property_id: int, arrived: UploadedFile) -> int:
        return confirm(db.session.get_one(Property, property_id), arrived).position

    answers = at_once(one, *[(home.id, arrived) for arrived in arrivals for _ in range(2)])
    positions = {answer for answer in answers if isinstance(answer, int)}
    assert positions == set(range(most))
    assert all(isinstance(a, (int, OverQuota, Conflict, Invalid)) for a in answers), answers
    rows = db.session.scalars(select(Image).execution_options(populate_existing=True)).all()
    assert sorted(row.position for row in rows) == list(range(most))
    assert sum(row.is_main for row in rows) == 1
    originals = {row.original_key for row in rows}
    awaited = set(db.session.scalars(select(Upload.key).where(Upload.confirmed_at.is_(None))))
    assert {key for _, key in buckets.listing()} == originals | awaited
