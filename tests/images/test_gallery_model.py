"""A gallery against a model: any order of changes, from any entrance, ends where the model ends.

`EXAMPLES=500 pytest -m storm tests/images/test_gallery_model.py` tries that many, different ones each time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from portal.accounts import plans
from portal.accounts.models import Workspace
from portal.db import db
from portal.errors import OverQuota
from portal.images import deletion, edit, gallery, order, properties, uploads
from portal.images.edit import Change
from tests import factories
from tests.conftest import MATRIX, Buckets
from tests.factories import Person
from tests.images.galleries import added, arranged, assert_whole, now_in

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
MOST = 5  # the plan's limit: small, so that it is reached
PHOTO = factories.jpeg(8, 6)
PLACES = st.integers(0, MOST - 1)
QUARTER_TURNS = st.integers(1, 3)


@dataclass(frozen=True)
class Photo:
    """What the model knows about an image."""

    uuid: str
    quarter_turns: int = 0
    alt_text: str | None = None


class Model:
    """Photos in order, one of them the cover, and deletions that can be undone."""

    def __init__(self) -> None:
        self.photos: list[Photo] = []
        self.cover: str | None = None
        self.bin: dict[str, tuple[list[tuple[int, Photo]], str | None]] = {}

    def remove(self, gone: list[Photo]) -> None:
        self.photos = [photo for photo in self.photos if photo not in gone]
        self.set_cover(self.cover)

    def set_cover(self, wanted: str | None) -> None:
        """Make the wanted photo the cover, or the first one if that is gone."""
        here = [photo.uuid for photo in self.photos]
        self.cover = wanted if wanted in here else next(iter(here), None)

    def turn(self, uuid: str, quarters: int) -> None:
        self.photos = [
            replace(p, quarter_turns=(p.quarter_turns + quarters) % 4) if p.uuid == uuid else p for p in self.photos
        ]

    def put_first(self, photos: list[Photo]) -> None:
        uuids = [photo.uuid for photo in photos]
        here = {photo.uuid: photo for photo in self.photos}
        self.photos = [here.pop(uuid) for uuid in uuids] + list(here.values())


class AnyGallery(RuleBasedStateMachine):
    """Each rule does the same to a property and to its model."""

    workspace: Workspace
    buckets: Buckets

    def __init__(self) -> None:
        super().__init__()
        db.session.rollback()
        self.home = factories.home_of(self.workspace)
        self.model = Model()
        edit.apply(self.home, Change(added=[added(PHOTO)] * 3, main_added=1))
        self.model.cover = self.take_new(3)[1]

    def chosen(self, places: set[int]) -> list[Photo]:
        return [photo for place, photo in enumerate(self.model.photos) if place in places]

    def id_of(self, photo: Photo) -> int:
        return gallery.find(self.home, photo.uuid).id

    def take_new(self, count: int) -> list[str]:
        """Record the new images at the end of the gallery."""
        known = {photo.uuid for photo in self.model.photos}
        new = [str(image.uuid) for image in now_in(self.home) if str(image.uuid) not in known]
        assert len(new) == count
        self.model.photos += [Photo(uuid) for uuid in new]
        return new

    @rule(data=st.data(), gone=st.sets(PLACES, max_size=2), files=st.lists(st.integers(0, 3), max_size=2))
    def put(self, data: st.DataObject, gone: set[int], files: list[int]) -> None:
        """PUT /api/properties/:id of the Manage Property Images contract, any of its parts together."""
        deleted = self.chosen(gone)
        kept = [photo for photo in self.model.photos if photo not in deleted]
        turned = {photo: data.draw(QUARTER_TURNS) for photo in kept if data.draw(st.integers(0, 3)) == 0}
        named = data.draw(st.none() | st.permutations(kept).map(lambda mixed: mixed[: len(kept) // 2 + 1]))
        main = data.draw(st.sampled_from([None, *named])) if named else None
        main_added = data.draw(st.none() | st.integers(0, len(files) - 1)) if files else None
        wanted = Change(
            deleted=frozenset(map(self.id_of, deleted)),
            rotated={self.id_of(photo): quarter_turns for photo, quarter_turns in turned.items()},
            added=[added(PHOTO, quarter_turns) for quarter_turns in files],
            main_added=main_added,
            arranged=named
            if named is None
            else arranged(self.home, [self.id_of(photo) for photo in named], main and self.id_of(main)),
        )
        if files and len(kept) + len(files) > MOST:
            with pytest.raises(OverQuota):
                edit.apply(self.home, wanted)
            return
        edit.apply(self.home, wanted)
        self.model.remove(deleted)
        for photo, quarter_turns in turned.items():
            self.model.turn(photo.uuid, quarter_turns)
        self.model.put_first(named or [])
        new = self.take_new(len(files))
        for uuid, quarter_turns in zip(new, files, strict=True):
            self.model.turn(uuid, quarter_turns)
        added_main = None if main_added is None else new[main_added]
        self.model.set_cover(main.uuid if main else added_main or (self.model.cover if named is None else None))
        assert {image.variants for image in now_in(self.home)} <= {"ready"}

    @rule()
    def confirm(self) -> None:
        if len(self.model.photos) < MOST:
            uploads.confirm(self.home, [factories.uploaded(self.home, PHOTO)])
            self.take_new(1)
            self.model.set_cover(self.model.cover)

    @rule(places=st.sets(PLACES, max_size=2))
    def delete(self, places: set[int]) -> None:
        gone = self.chosen(places)
        assert deletion.delete(self.home, [photo.uuid for photo in gone]).images == len(gone)
        self.model.remove(gone)

    @rule(places=st.sets(PLACES, min_size=1, max_size=3))
    def delete_with_an_undo(self, places: set[int]) -> None:
        gone = [(place, photo) for place, photo in enumerate(self.model.photos) if place in places]
        token = deletion.delete(self.home, [photo.uuid for _, photo in gone], undoable=True).undo_token
        cover = next((photo.uuid for _, photo in gone if photo.uuid == self.model.cover), None)
        self.model.remove([photo for _, photo in gone])
        if token:
            self.model.bin[token] = gone, cover

    @precondition(lambda self: self.model.bin)
    @rule()
    def undelete(self) -> None:
        token, (gone, cover) = next(iter(self.model.bin.items()))
        if len(self.model.photos) + len(gone) > MOST:
            with pytest.raises(OverQuota):
                deletion.undelete(self.home, token)
            return
        deletion.undelete(self.home, token)
        del self.model.bin[token]
        for place, photo in gone:
            self.model.photos.insert(place, photo)
        self.model.set_cover(cover or self.model.cover)

    @precondition(lambda self: self.model.photos)
    @rule(data=st.data())
    def reorder(self, data: st.DataObject) -> None:
        named = data.draw(st.permutations(self.model.photos))[: len(self.model.photos) // 2 + 1]
        order.reorder(self.home, [photo.uuid for photo in named])
        self.model.put_first(named)

    @precondition(lambda self: self.model.photos)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        moved = data.draw(st.sampled_from(self.model.photos))
        others = [photo for photo in self.model.photos if photo != moved]
        after = data.draw(st.sampled_from([None, *others]))
        order.move(self.home, moved.uuid, after and after.uuid)
        others.insert(others.index(after) + 1 if after else 0, moved)
        self.model.photos = others
        self.model.set_cover(others[0].uuid if moved.uuid in (self.model.cover, others[0].uuid) else self.model.cover)

    @precondition(lambda self: self.model.photos)
    @rule(data=st.data(), text=st.sampled_from(["The pool", ""]))
    def describe(self, data: st.DataObject, text: str) -> None:
        photo = data.draw(st.sampled_from(self.model.photos))
        gallery.describe(self.home, photo.uuid, text)
        self.model.photos[self.model.photos.index(photo)] = replace(photo, alt_text=text or None)

    @rule(places=st.sets(PLACES, max_size=2), quarter_turns=QUARTER_TURNS)
    def turn(self, places: set[int], quarter_turns: int) -> None:
        chosen = self.chosen(places)
        edit.rotate(self.home, [photo.uuid for photo in chosen], quarter_turns)
        for photo in chosen:
            self.model.turn(photo.uuid, quarter_turns)

    @invariant()
    def same(self) -> None:
        rows = now_in(self.home)
        assert [Photo(str(row.uuid), row.quarter_turns, row.alt_text) for row in rows] == self.model.photos
        assert [str(row.uuid) for row in rows if row.is_main] == ([self.model.cover] if rows else [])
        assert all((row.width, row.height) == ((6, 8) if row.quarter_turns % 2 else (8, 6)) for row in rows)

    def teardown(self) -> None:
        assert_whole(self.home, self.buckets)
        properties.delete(self.home)
        assert self.buckets.listing() == set()


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(6, 10), pytest.param(EXAMPLES or 100, 15, id="many", marks=[pytest.mark.storm, pytest.mark.timeout(900)])],
)
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_any_order_of_changes_ends_where_the_model_ends(
    alice: Person, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, examples: int, steps: int
) -> None:
    monkeypatch.setitem(plans.PLANS, "free", replace(plans.PLANS["free"], images_per_property=MOST))
    monkeypatch.setattr(AnyGallery, "workspace", alice.workspace, raising=False)
    monkeypatch.setattr(AnyGallery, "buckets", buckets, raising=False)
    run_state_machine_as_test(
        AnyGallery,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not EXAMPLES,
            phases=tuple(Phase) if EXAMPLES else (Phase.generate,),  # shrinking takes minutes
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
