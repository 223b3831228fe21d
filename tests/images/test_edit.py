"""An edit of many parts: all of it in the contract's order or nothing of it, whatever runs concurrently."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from portal.accounts import plans
from portal.db import db
from portal.errors import Conflict, Invalid, NotFound, OverQuota, Problem
from portal.images import deletion, edit, gallery, keys, order, properties, uploads, variants
from portal.images.edit import AddedFile, ArrangedImage, Change
from portal.images.models import Image, Property
from portal.infra import storage
from tests import factories
from tests.conftest import MATRIX, Buckets
from tests.factories import Person
from tests.images.galleries import RED, added, arranged, assert_whole, cover, finished, named, now_in, picture, rows_of
from tests.images.test_variants import corrupted


@pytest.fixture
def three(home: Property) -> list[int]:
    return finished(home, 3)


@pytest.fixture
def four_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan has room for four images per property."""
    monkeypatch.setitem(plans.PLANS, "free", replace(plans.PLANS["free"], images_per_property=4))


@pytest.fixture
def meanwhile(app: Flask) -> Callable[[Callable[[], object]], AddedFile]:
    """A file whose reading runs another action: after the edit's first look, before its lock."""

    def file(action: Callable[[], object]) -> AddedFile:
        def read() -> bytes:
            with app.app_context():
                action()
            return picture()

        return AddedFile(read, "meanwhile.jpg")

    return file


def ids(home: Property) -> list[int]:
    return [image.id for image in now_in(home)]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_one_edit_deletes_rotates_adds_arranges_and_renames(home: Property, three: list[int], buckets: Buckets) -> None:
    a, b, c = three
    before = home.gallery_version
    wanted = Change(
        deleted=frozenset({a}),
        rotated={b: 1},
        added=[added(), added(picture(RED), quarter_turns=2)],
        main_added=1,
        arranged=arranged(home, [c]),
        fields={"name": "Barn", "bathrooms": 1.5},
        added_by="Alice's key",
    )
    edit.apply(home, wanted)
    rows = now_in(home)
    assert [image.id for image in rows[:2]] == [c, b]
    assert [(image.quarter_turns, image.version, image.width) for image in rows] == [
        (0, 1, 16),
        (1, 2, 12),
        (0, 1, 16),
        (2, 1, 16),
    ]
    assert cover(home) == rows[3].id
    assert (home.name, home.bathrooms, home.gallery_version) == ("Barn", 1.5, before + 1)
    assert rows[2].added_by == "Alice's key"
    assert_whole(home, buckets)


def test_an_empty_edit_changes_nothing(home: Property, three: list[int], buckets: Buckets) -> None:
    before, objects = rows_of(home.id), buckets.listing()
    edit.apply(home, Change())
    edit.apply(
        home, Change(deleted=frozenset({2**40}), rotated={three[0]: 0}, arranged=arranged(home, three, three[0]))
    )
    assert (rows_of(home.id), buckets.listing()) == (before, objects)


def test_all_images_may_be_deleted_and_the_first_new_one_becomes_the_cover(
    home: Property, three: list[int], buckets: Buckets
) -> None:
    edit.apply(home, Change(deleted=frozenset(three)))
    assert now_in(home) == []
    assert buckets.listing() == set()
    edit.apply(home, Change(added=[added(), added()]))
    assert now_in(home)[0].is_main


@pytest.mark.usefixtures("four_at_most")
def test_a_full_gallery_takes_as_many_images_as_it_loses(home: Property, buckets: Buckets) -> None:
    full = finished(home, 4)
    before, objects = rows_of(home.id), buckets.listing()
    with pytest.raises(OverQuota):
        edit.apply(home, Change(deleted=frozenset(full[:1]), added=[added(), added()]))
    assert (rows_of(home.id), buckets.listing()) == (before, objects)
    edit.apply(home, Change(deleted=frozenset(full[:2]), added=[added(), added()]))
    assert len(now_in(home)) == 4


def test_a_gallery_over_its_plan_can_still_be_reordered(
    home: Property, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = three
    monkeypatch.setitem(plans.PLANS, "free", replace(plans.PLANS["free"], images_per_property=1))
    edit.apply(home, Change(rotated={a: 1}, arranged=arranged(home, [c, b, a], c), fields={"name": "Barn"}))
    assert ids(home) == [c, b, a]
    edit.apply(home, Change(deleted=frozenset({a})))
    assert ids(home) == [c, b]
    with pytest.raises(OverQuota):
        edit.apply(home, Change(deleted=frozenset({c}), added=[added()]))


WRONG: dict[str, tuple[Callable[[int, str], Change], type[Problem]]] = {
    "too many quarter turns": (lambda a, url: Change(rotated={a: 4}), Invalid),
    "rotates an unknown photo": (lambda a, url: Change(rotated={a: 1, 2**40: 1}), NotFound),
    "rotates a deleted photo": (lambda a, url: Change(deleted=frozenset({a}), rotated={a: 1}), NotFound),
    "places a deleted photo": (
        lambda a, url: Change(deleted=frozenset({a}), arranged=[ArrangedImage(a, url, 0, True)]),
        NotFound,
    ),
    "another URL": (lambda a, url: Change(arranged=[ArrangedImage(a, url[:-1], 0, True)]), NotFound),
    "twice": (lambda a, url: Change(arranged=[ArrangedImage(a, url, 0, True)] * 2), Invalid),
    "no such cover": (lambda a, url: Change(added=[added()], main_added=1), Invalid),
    "no photo": (lambda a, url: Change(added=[added(b"no photo"), added()]), Invalid),
    "half a photo": (lambda a, url: Change(added=[added(), added(factories.jpeg()[:400] + b"\xff\xd9")]), Invalid),
    "no name": (lambda a, url: Change(deleted=frozenset({a}), added=[added()], fields={"name": ""}), Invalid),
}


def test_one_invalid_part_changes_nothing_in_any_part(home: Property, three: list[int], buckets: Buckets) -> None:
    before, objects = rows_of(home.id), buckets.listing()
    url = keys.cdn_url(gallery.images(home)[0].large_key or "")

    def outcome(wrong: Callable[[int, str], Change], error: type[Problem]) -> tuple[type[Problem] | None, bool]:
        others = {"fields": {"name": "Barn"}} if error is NotFound else {}
        said = None
        try:
            edit.apply(home, replace(wrong(three[0], url), **others))
        except Problem as problem:
            said = type(problem)
        return said, (rows_of(home.id), buckets.listing()) == (before, objects)

    found = {what: outcome(wrong, error) for what, (wrong, error) in WRONG.items()}
    assert found == {what: (error, True) for what, (_, error) in WRONG.items()}


def test_ids_of_other_workspaces_are_as_absent_as_unknown_ids(
    home: Property, three: list[int], charlie: Person, buckets: Buckets
) -> None:
    foreign = factories.home_of(charlie.workspace)
    (theirs,) = finished(foreign, 1)
    (next_door,) = finished(factories.home_of(home.workspace, "Next door"), 1)
    before, objects = (rows_of(home.id), rows_of(foreign.id)), buckets.listing()
    for other in (theirs, next_door, 2**40):
        there = ArrangedImage(other, keys.image_url(now_in(foreign)[0]), 0, True)
        for wanted in (Change(rotated={other: 1}), Change(rotated={other: 0}), Change(arranged=[there])):
            with pytest.raises(NotFound, match="no such photo"):
                edit.apply(home, wanted)
        edit.apply(home, Change(deleted=frozenset({other})))
    assert ((rows_of(home.id), rows_of(foreign.id)), buckets.listing()) == (before, objects)


def test_pending_images_get_their_variants_in_the_edit(
    home: Property, buckets: Buckets, work_off: Callable[[], int]
) -> None:
    waiting, broken = factories.photo_in(home, picture()).id, corrupted(home).id
    edit.apply(home, Change(fields={"name": "Barn"}))
    assert [(image.id, image.variants) for image in now_in(home)] == [(waiting, "ready"), (broken, "pending")]
    work_off()
    assert [image.variants for image in now_in(home)] == ["ready", "failed"]
    assert_whole(home, buckets)


def _uuid(image_id: int) -> str:
    return str(db.session.get_one(Image, image_id).uuid)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
@pytest.mark.parametrize(
    ("theirs", "error"),
    [
        (lambda home, a: edit.apply(home, Change(rotated={a: 1})), Conflict),
        (lambda home, a: deletion.delete(home, [_uuid(a)]), (NotFound, Invalid)),
        (lambda home, a: properties.delete(home), (NotFound, Invalid)),
        (lambda home, a: finished(home, 1), OverQuota),
    ],
    ids=["turned", "deleted", "property deleted", "filled"],
)
@pytest.mark.usefixtures("four_at_most")
def test_an_edit_made_impossible_by_a_concurrent_change_is_refused_and_that_change_stands(
    home: Property,
    three: list[int],
    buckets: Buckets,
    meanwhile: Any,
    theirs: Callable[[Property, int], object],
    error: type[Exception] | tuple[type[Exception], ...],
) -> None:
    """The edit is invalid if the original was deleted before it was read."""
    (a, b, _), property_id = three, home.id
    seen: list[Any] = []

    def others() -> None:
        mine = db.session.get_one(Property, property_id)
        theirs(mine, a)
        seen.append(rows_of(property_id))

    with pytest.raises(error):
        edit.apply(home, Change(rotated={a: 3}, deleted=frozenset({b}), added=[meanwhile(others), added()]))
    assert seen == [rows_of(property_id)]
    assert buckets.listing() == named()


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_concurrent_changes_survive_the_edit(
    home: Property, three: list[int], buckets: Buckets, meanwhile: Any, work_off: Callable[[], int]
) -> None:
    a, b, c = three
    waiting = factories.photo_in(home, picture()).id
    arrived, property_id = factories.uploaded(home, picture(RED)), home.id

    def others() -> None:
        mine = db.session.get_one(Property, property_id)
        variants.make(waiting)
        gallery.describe(mine, _uuid(b), "The pool")
        order.make_cover(mine, _uuid(c))
        uploads.confirm(mine, [arrived])

    edit.apply(home, Change(deleted=frozenset({a}), rotated={b: 1}, added=[meanwhile(others)]))
    rows = now_in(home)
    assert [image.id for image in rows[:3]] == [c, b, waiting]
    assert (cover(home), rows[1].alt_text, rows[1].quarter_turns, rows[2].variants) == (c, "The pool", 1, "ready")
    assert [image.file_name for image in rows[3:]] == ["photo.jpg", "meanwhile.jpg"]
    work_off()
    assert_whole(home, buckets)


def test_a_missing_original_leaves_everything_as_it_was(home: Property, three: list[int], buckets: Buckets) -> None:
    a, b, c = three
    storage.uploads.delete(gallery.images(home)[1].original_key)
    before, objects = rows_of(home.id), buckets.listing()
    with pytest.raises(Invalid, match="missing"):
        edit.apply(home, Change(deleted=frozenset({c}), rotated={a: 1, b: 1}, added=[added()]))
    assert (rows_of(home.id), buckets.listing()) == (before, objects)
