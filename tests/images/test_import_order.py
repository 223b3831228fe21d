"""Imported photos keep the order of their URLs, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal.db import db, now
from portal.images import deletion, gallery, imports, order
from portal.images.imports import fetch
from portal.images.models import Image, ImportItem, Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.images.galleries import now_in
from tests.outside import Outside, Reply, outside


@pytest.fixture
def host() -> Iterator[Outside]:
    with outside(lambda _: Reply(body=factories.jpeg(64, 48))) as there:
        yield there


@pytest.fixture
def links(host: Outside, home: Property) -> list[str]:
    """Five requested links that have not arrived yet."""
    found = [f"{host.url}/{n}.jpg" for n in range(5)]
    imports.start(home, found)
    return found


def arrive(*urls: str) -> None:
    """Fetch these now, one after the other, and nothing else."""
    for url in urls:
        with work():
            db.session.execute(update(ImportItem).values(next_at=now() + timedelta(hours=1)))
            mine = update(ImportItem).where(ImportItem.url == url, ImportItem.state == "pending")
            db.session.execute(mine.values(next_at=now()))
        assert fetch.run() == 1
    db.session.rollback()


def names(home: Property) -> str:
    """The numbers in the photos' names, in gallery order; the cover with a star."""
    return "".join(image.file_name.removesuffix(".jpg") + "*" * image.is_main for image in now_in(home))


def named(home: Property, name: str) -> Image:
    return next(image for image in now_in(home) if image.file_name == f"{name}.jpg")


@pytest.mark.parametrize("count", [3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_photos_keep_the_order_of_their_urls_whatever_arrives_first(home: Property, host: Outside, count: int) -> None:
    for round, orderly in enumerate(permutations(range(count))):
        inn = factories.home_of(home.workspace, f"Inn {round}")
        found = [f"{host.url}/{round}/{n}.jpg" for n in range(count)]
        imports.start(inn, found)
        arrive(*[found[n] for n in orderly])
        assert names(inn) == "0*123"[: count + 1], orderly


def test_an_import_goes_after_existing_photos_and_keeps_the_cover(home: Property, host: Outside) -> None:
    factories.photo_in(home, name="x.jpg")
    found = [f"{host.url}/{n}.jpg" for n in range(3)]
    imports.start(home, found)
    arrive(found[1])
    factories.photo_in(home, name="y.jpg")
    arrive(found[0], found[2])
    assert names(home) == "x*012y"


def test_a_later_import_goes_after_an_earlier_one(home: Property, host: Outside, links: list[str]) -> None:
    more = [f"{host.url}/{n}.jpg" for n in (8, 9)]
    imports.start(home, more)
    arrive(links[0], more[1], links[1], more[0])
    assert names(home) == "0*189"


def test_photos_moved_by_people_meanwhile_stay_there(home: Property, links: list[str]) -> None:
    arrive(links[1], links[3])
    order.move(home, str(named(home, "3").uuid), after=None)
    assert names(home) == "3*1"
    arrive(links[0], links[2], links[4])
    assert names(home) == "3*0124"


def test_a_cover_chosen_by_people_stays_the_cover(home: Property, links: list[str]) -> None:
    arrive(links[2], links[1])
    with work():
        rows = gallery.lock_images(home)
        gallery._set_cover(rows[1], rows)  # as PUT /api/properties/:id may: a cover that isn't the first image
    arrive(links[0])
    assert names(home) == "012*"


def test_a_cover_chosen_by_people_is_first_and_stays_first(home: Property, host: Outside) -> None:
    factories.photo_in(home, name="x.jpg")
    found = [f"{host.url}/{n}.jpg" for n in range(2)]
    imports.start(home, found)
    arrive(found[1])
    order.make_cover(home, str(named(home, "1").uuid))
    assert names(home) == "1*x"
    arrive(found[0])
    assert names(home) == "1*0x"


def test_photos_deleted_meanwhile_leave_no_gap(home: Property, links: list[str]) -> None:
    arrive(links[0], links[2])
    deletion.delete(home, [str(named(home, "0").uuid)])
    arrive(links[1])
    assert names(home) == "1*2"
    deletion.delete(home, [str(image.uuid) for image in now_in(home)])
    arrive(links[4], links[3])
    assert names(home) == "3*4"


def test_a_retried_link_is_inserted_at_its_position(home: Property) -> None:
    is_down = [True]
    with outside(lambda seen: Reply(404) if is_down[0] and "/0" in seen.path else Reply(body=factories.jpeg())) as host:
        job = imports.start(home, [f"{host.url}/{n}.jpg" for n in range(3)])
        fetch.run()
        assert names(home) == "1*2"
        is_down[0] = False
        imports.try_again(job)
        fetch.run()
    assert names(home) == "0*12"


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_photos_keep_their_order_with_many_workers(
    home: Property, host: Outside, at_once: Callable[..., list[Any]]
) -> None:
    imports.start(home, [f"{host.url}/{n:02}.jpg" for n in range(12)])
    assert sum(at_once(fetch.run, *[()] * 4)) == 12
    assert names(home) == "00*" + "".join(f"{n:02}" for n in range(1, 12))


def test_photos_out_of_order_send_one_event_and_count_one_change_each(
    alice: Person, home: Property, links: list[str]
) -> None:
    endpoints.create(alice.workspace, "http://127.0.0.1/hook", ["property.updated"])
    arrive(*links[::-1])
    assert db.session.scalar(select(func.count(Delivery.id))) == 1
    assert home.gallery_version == 5
