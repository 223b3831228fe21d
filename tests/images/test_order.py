"""Order and cover: positions are 0…n−1 and exactly one image is the cover, however many changes run."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from portal.db import db
from portal.errors import Conflict, Invalid
from portal.images import deletion, gallery, order, uploads
from portal.images.models import Image, Property
from tests import factories
from tests.conftest import BOTH
from tests.factories import Person


@pytest.fixture
def five(home: Property) -> list[str]:
    """The uuids of five images, in order."""
    arrived = [factories.uploaded(home, factories.jpeg(32, 24)) for _ in range(5)]
    return [str(image.uuid) for image, _ in uploads.confirm(home, arrived)]


def now_in(home: Property) -> list[str]:
    db.session.rollback()
    rows = gallery.images(home)
    assert [image.position for image in rows] == list(range(len(rows)))
    assert sum(image.is_main for image in rows) == (1 if rows else 0)
    return [str(image.uuid) for image in rows]


def cover(home: Property) -> str:
    return next(str(image.uuid) for image in gallery.images(home) if image.is_main)


def test_reorder_puts_the_named_images_first_and_keeps_the_order_of_the_rest(home: Property, five: list[str]) -> None:
    a, b, c, d, e = five
    order.reorder(home, [d, b])
    assert now_in(home) == [d, b, a, c, e]
    assert cover(home) == a, "a reorder through the API keeps the cover"


def test_a_list_with_a_duplicate_or_an_unknown_id_changes_nothing(
    home: Property, five: list[str], charlie: Person
) -> None:
    foreign = str(factories.photo_in(factories.home_of(charlie.workspace)).uuid)
    neighbour = str(factories.photo_in(factories.home_of(home.workspace, "Next door")).uuid)
    for wrong in ([five[1], five[1]], [five[1], foreign], [neighbour], ["nonsense"]):
        with pytest.raises(Invalid):
            order.reorder(home, wrong)
    assert now_in(home) == five


def test_reorder_of_a_gallery_that_has_changed_is_a_conflict(home: Property, five: list[str]) -> None:
    seen = home.gallery_version
    order.reorder(home, five[::-1], if_version=seen)
    with pytest.raises(Conflict):
        order.reorder(home, five, if_version=seen)
    assert now_in(home) == five[::-1]


def test_reordering_to_the_same_order_is_no_change(home: Property, five: list[str]) -> None:
    before = home.gallery_version
    order.reorder(home, five)
    assert home.gallery_version == before


def test_a_move_is_relative_to_another_photo(home: Property, five: list[str]) -> None:
    found = {}
    for moved, after in ((0, 2), (4, 0), (3, None)):
        order.move(home, five[moved], None if after is None else five[after])
        found[moved, after] = [five.index(uuid) for uuid in now_in(home)]
        assert cover(home) == now_in(home)[0]
        order.reorder(home, five)
        order.make_cover(home, five[0])
    assert found == {(0, 2): [1, 2, 0, 3, 4], (4, 0): [0, 4, 1, 2, 3], (3, None): [3, 0, 1, 2, 4]}
    order.move(home, five[2], five[2])
    assert sorted(now_in(home)) == sorted(five)


def test_a_move_to_the_first_position_sets_the_cover(home: Property, five: list[str]) -> None:
    order.make_cover(home, five[3])
    assert now_in(home)[0] == cover(home) == five[3]


def test_a_move_after_a_deleted_photo_is_a_conflict(home: Property, five: list[str]) -> None:
    deletion.delete(home, [five[2]])
    for moved, after in ((five[2], None), (five[0], five[2])):
        with pytest.raises(Conflict):
            order.move(home, moved, after)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_concurrent_reorders_moves_deletes_and_confirms_leave_no_gap_and_one_cover(
    home: Property, five: list[str], at_once: Callable[..., list[Any]]
) -> None:
    arrivals = [factories.uploaded(home, factories.jpeg(32, 24)) for _ in range(4)]
    dice = random.Random(3)

    def do(kind: int, property_id: int) -> None:
        mine = db.session.get_one(Property, property_id)
        mixed = dice.sample(five, 5)
        if kind % 4 == 0:
            order.reorder(mine, mixed)
        elif kind % 4 == 1:
            order.move(mine, mixed[0], mixed[1])
        elif kind % 4 == 2:
            deletion.delete(mine, [five[kind // 4]])
        else:
            uploads.confirm(mine, [arrivals[kind // 4]])

    answers = at_once(do, *[(kind, home.id) for kind in range(12)])
    assert all(answer is None or isinstance(answer, (Conflict, Invalid)) for answer in answers), answers
    assert len(now_in(home)) == 5 - 3 + 3


def test_two_concurrent_reorders_end_as_one_of_them(
    home: Property, five: list[str], at_once: Callable[..., list[Any]]
) -> None:
    forth, back = five, five[::-1]

    def do(wanted: list[str], property_id: int) -> None:
        order.reorder(db.session.get_one(Property, property_id), wanted)

    assert at_once(do, (forth, home.id), (back, home.id)) == [None, None]
    assert now_in(home) in (forth, back)


def test_the_database_enforces_a_single_cover(home: Property, five: list[str]) -> None:
    from sqlalchemy import update
    from sqlalchemy.exc import IntegrityError

    from portal.work import work

    with pytest.raises(IntegrityError), work():
        db.session.execute(update(Image).values(is_main=True))
    assert db.session.scalars(select(Image.is_main)).all().count(True) == 1


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a_job_and_people_who_reorder_and_describe_do_not_deadlock(
    home: Property, five: list[str], at_once: Callable[..., list[Any]], work_off: Callable[[], int]
) -> None:
    """A lock covers its row only: when it covered joined relations, a variant job and a reorder deadlocked."""
    from portal.images import variants

    ids = [image.id for image in gallery.images(home)]

    def do(kind: int, property_id: int) -> None:
        mine = db.session.get_one(Property, property_id)
        for step in range(4):
            if kind % 3 == 0:
                variants.make(ids[(kind + step) % 5])
            elif kind % 3 == 1:
                order.reorder(mine, five[step:] + five[:step])
            else:
                gallery.describe(mine, five[step], f"{kind} {step}")

    answers = at_once(do, *[(kind, home.id) for kind in range(9)])
    assert answers == [None] * 9
    work_off()
    assert sorted(now_in(home)) == sorted(five)
