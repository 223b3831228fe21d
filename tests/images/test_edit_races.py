"""Concurrent edits, with each other and with everything else that changes a gallery: all invariants hold."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text, update

from portal.db import db
from portal.errors import Conflict, Invalid, NotFound, OverQuota
from portal.images import deletion, edit, gallery, order, uploads, variants
from portal.images.edit import Change
from portal.images.models import Image, Property
from portal.images.variants import renditions
from portal.work import lock, work
from tests import factories
from tests.conftest import BOTH, MATRIX, Buckets
from tests.images.galleries import added, arranged, assert_whole, finished, now_in, picture
from tests.processes import until

Act = Callable[[Property], object]
EXPECTED = (Conflict, Invalid, NotFound, OverQuota)  # another edit was first


def at_the_same_time(home: Property, at_once: Callable[..., list[Any]], acts: list[Act]) -> list[Any]:
    """Run everything concurrently; refusals have a valid reason, and nothing deadlocks."""

    def do(act: Act, property_id: int) -> None:
        act(db.session.get_one(Property, property_id))

    answers = at_once(do, *[(act, home.id) for act in acts])
    strange = [answer for answer in answers if answer is not None and not isinstance(answer, EXPECTED)]
    assert not strange, strange
    return answers


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_ten_concurrent_edits_of_one_gallery(
    home: Property, buckets: Buckets, at_once: Callable[..., list[Any]]
) -> None:
    a, b, c, d, e = finished(home, 5)

    def wanted(n: int, mine: Property) -> None:
        main = (c, d, e)[n % 3]
        edit.apply(
            mine,
            Change(
                deleted=frozenset({(a, b)[n % 2]}),
                rotated={e: 1} if n < 3 else {},
                added=[added(picture((9 * n, 90, 90)))],
                main_added=0 if n % 4 == 0 else None,
                arranged=arranged(mine, [d, c] if n % 2 else [main], main if n % 4 else None),
            ),
        )

    answers = at_the_same_time(home, at_once, [partial(wanted, n) for n in range(10)])
    done = answers.count(None)
    rows = now_in(home)
    assert done >= 7, "only the three rotations of one photo may exclude each other"
    assert len(rows) == 3 + done
    assert next(image.quarter_turns for image in rows if image.id == e) <= 1
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_the_plan_holds_when_many_edits_add_photos_concurrently(
    home: Property, buckets: Buckets, at_once: Callable[..., list[Any]]
) -> None:
    (first, *_) = finished(home, 12)
    arrivals = [factories.uploaded(home, picture((20 * n, 9, 9))) for n in range(4)]
    acts: list[Act] = [lambda mine: edit.apply(mine, Change(added=[added(), added()])) for _ in range(5)]
    acts.append(lambda mine: edit.apply(mine, Change(deleted=frozenset({first}), added=[added(), added()])))
    acts += [partial(lambda one, mine: uploads.confirm(mine, [one]), arrived) for arrived in arrivals]
    answers = at_the_same_time(home, at_once, acts)
    rows = now_in(home)
    assert 19 <= len(rows) <= 20
    assert any(isinstance(answer, OverQuota) for answer in answers)
    assert buckets.listing() >= {("frontage-cdn", image.large_key) for image in rows if image.large_key}
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.storm)])
def test_edits_concurrent_with_everything_else_that_changes_a_gallery(
    home: Property, buckets: Buckets, at_once: Callable[..., list[Any]], work_off: Callable[[], int], seed: int
) -> None:
    dice = random.Random(seed)
    ready = finished(home, 5)
    waiting = [factories.photo_in(home, picture((n, 80, 9))).id for n in range(3)]
    ids = [*ready, *waiting]
    uuids = {image.id: str(image.uuid) for image in now_in(home)}
    arrivals = [factories.uploaded(home, picture((n, 9, 80))) for n in range(3)]
    tokens: list[str] = []

    def undoably(one: str, mine: Property) -> None:
        if token := deletion.delete(mine, [one], undoable=True).undo_token:
            tokens.append(token)
            deletion.undelete(mine, token)

    def shown(image_id: int, _: Property) -> None:
        if image := db.session.get(Image, image_id):
            renditions.best(image, frozenset({"image/webp"}), 320)

    acts: list[Act] = []
    for n in range(3):
        one, two, three = dice.sample(ids, 3)
        acts += [
            lambda mine, one=one, two=two: edit.apply(  # type: ignore[misc]
                mine, Change(deleted=frozenset({one}), rotated={two: 1}, added=[added()], main_added=0)
            ),
            lambda mine, two=two, three=three: edit.apply(  # type: ignore[misc]
                mine, Change(added=[added()], arranged=arranged(mine, [two, three], three))
            ),
            partial(lambda arrived, mine: uploads.confirm(mine, [arrived]), arrivals[n]),
            partial(lambda uuids, mine: order.reorder(mine, uuids), [uuids[two], uuids[one]]),
            partial(lambda uuid, mine: order.make_cover(mine, uuid), uuids[three]),
            partial(lambda uuid, mine: gallery.describe(mine, uuid, "The pool"), uuids[two]),
            partial(lambda uuid, mine: edit.rotate(mine, [uuid], 2), uuids[three]),
            partial(undoably, uuids[one]),
            partial(lambda image_id, _: variants.make(image_id), waiting[n]),
            partial(shown, dice.choice(ready)),
        ]
    at_the_same_time(home, at_once, acts)
    work_off()
    rows = now_in(home)
    assert {image.variants for image in rows} == {"ready"}
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_retrying_all_failed_photos_while_the_gallery_is_reordered(
    home: Property, at_once: Callable[..., list[Any]]
) -> None:
    """Both lock many rows; they once deadlocked by taking them in different orders. SQLite locks no rows."""
    ids = finished(home, 5)
    edit.apply(home, Change(arranged=arranged(home, ids[::-1])))
    with work():
        db.session.execute(update(Image).values(variants="failed"))
    is_held = threading.Event()

    def both_wait() -> bool:
        with db.engine.connect() as other:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return other.scalar(waiting) == 2

    def hold_the_middle(_: Property) -> None:
        with work():
            lock(db.session.get_one(Image, ids[2]))
            is_held.set()
            until(both_wait)

    def again(mine: Property) -> None:
        assert is_held.wait(30)
        variants.try_all_again(mine.workspace)

    def sort(mine: Property) -> None:
        assert is_held.wait(30)
        edit.apply(mine, Change(arranged=arranged(mine, ids)))

    assert at_the_same_time(home, at_once, [hold_the_middle, again, sort]) == [None] * 3
    assert [image.id for image in now_in(home)] == ids
