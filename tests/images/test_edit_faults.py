"""A fault at each step of an edit: exactly as before, or exactly as after, and never in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from portal.errors import StorageFailed
from portal.images import edit, gallery
from portal.images.edit import Change
from portal.images.models import Property
from tests.buckets import collect_orphans
from tests.conftest import MATRIX, Buckets
from tests.crashes import Steps
from tests.faults import (
    Answer,
    Front,
    Request,
    bucket_behind_a_proxy,
    commit_without_an_answer,
    database_failing_at,
)
from tests.images.galleries import added, arranged, assert_whole, cover, finished, now_in, rows_of

AT_ONCE = timedelta(seconds=-60)
SLOW = pytest.mark.slow


def everything(home: Property) -> Change:
    """Delete the first of three, rotate the second, move the last to the front, and add one."""
    a, b, c = [image.id for image in gallery.images(home)]
    return Change(
        frozenset({a}), {b: 1}, [added(quarter_turns=1)], arranged=arranged(home, [c], c), fields={"name": "Barn"}
    )


def assert_done(home: Property, ids: list[int]) -> None:
    rows = now_in(home)
    assert [image.id for image in rows[:-1]] == [ids[2], ids[1]]
    assert cover(home) == ids[2]
    assert [(image.quarter_turns, image.version, image.variants) for image in rows] == [
        (0, 1, "ready"),
        (1, 2, "ready"),
        (1, 1, "ready"),
    ]
    assert home.name == "Barn"


def fresh(home: Property) -> list[int]:
    """Three finished images, and nothing else."""
    edit.apply(home, Change(deleted=frozenset(image.id for image in now_in(home)), fields={"name": "Alder"}))
    return finished(home, 3)


def done_while(home: Property, front: Front, answer: Callable[[Request], Answer]) -> bool:
    """Edit everything while the bucket answers like this; return False if the edit was refused."""
    wanted = everything(home)
    front.asked.clear()
    front.answer = answer
    try:
        edit.apply(home, wanted)
    except StorageFailed:
        return False
    finally:
        front.answer = lambda _: None
    return True


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.storm)])
@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_bucket_that_refuses_any_single_request(home: Property, buckets: Buckets, stride: int) -> None:
    outcomes = ""
    with bucket_behind_a_proxy() as front:
        ids = fresh(home)
        for step in range(1, 100, stride):
            before, objects = rows_of(home.id), buckets.listing()
            if not done_while(home, front, lambda asked, step=step: 403 if asked.number == step else None):  # type: ignore[misc]
                outcomes += "-"
                assert (rows_of(home.id), buckets.listing()) == (before, objects), f"request {step}"
                continue
            reached = len(front.asked) >= step
            assert_done(home, ids)
            assert len(collect_orphans()) in ((1, 4) if reached else (0,)), (
                "exactly the objects that could not be dropped"
            )
            assert_whole(home, buckets)
            if not reached:
                break
            outcomes += "+"
            ids = fresh(home)
    wanted = "-" * 6 + "+" * 2
    assert outcomes == wanted[::stride], "an original is read and five objects written; five are dropped in two calls"


@pytest.mark.parametrize("answer", ["lost", *(pytest.param(one, marks=SLOW) for one in (500, "reset"))])
def test_every_request_is_cut_off_once(home: Property, buckets: Buckets, answer: Answer) -> None:
    """Boto retries: a repeated PUT is one object, deleting what is gone is no error."""
    seen = set()

    def once(asked: Request) -> Answer:
        what = asked.method, asked.path
        return None if what in seen else seen.add(what) or answer  # type: ignore[func-returns-value]

    with bucket_behind_a_proxy() as front:
        ids = fresh(home)
        assert done_while(home, front, once)
        assert len(front.asked) == 16
    assert_done(home, ids)
    assert_whole(home, buckets)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("PUT", "lost"),
        *(pytest.param("GET", answer, marks=SLOW) for answer in (500, "reset", "lost", "hang")),
        *(pytest.param("PUT", answer, marks=SLOW) for answer in (500, "reset", "hang")),
    ],
)
def test_a_bucket_that_breaks_and_stays_broken(home: Property, buckets: Buckets, method: str, answer: Answer) -> None:
    """Even the clean-up fails: the sweep collects what is left."""
    with bucket_behind_a_proxy(read_timeout_s=0.5) as front:
        fresh(home)
        before, objects = rows_of(home.id), buckets.listing()
        assert not done_while(home, front, lambda asked: answer if asked.method in (method, "POST") else None)
    collect_orphans()
    assert (rows_of(home.id), buckets.listing()) == (before, objects)


@pytest.mark.parametrize("answer", [403, *(pytest.param(one, marks=SLOW) for one in (500, "reset", "lost", "hang"))])
def test_an_edit_succeeds_when_the_bucket_drops_nothing(
    home: Property, buckets: Buckets, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    if answer == "hang":
        monkeypatch.setattr("portal.work.DELETION_TIME_LIMIT_S", 0.5)
    with bucket_behind_a_proxy(read_timeout_s=0.5) as front:
        ids = fresh(home)
        assert done_while(home, front, lambda asked: answer if asked.method == "POST" else None)
    asked_for = {asked.path for asked in front.asked if asked.method == "POST"}
    both = {"/frontage-cdn?delete", "/frontage-uploads?delete"}
    assert asked_for == ({"/frontage-cdn?delete"} if answer == "hang" else both), "one call that hangs is enough"
    collect_orphans()
    assert_done(home, ids)
    assert_whole(home, buckets)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_database_that_fails_at_any_step(home: Property, buckets: Buckets, steps: Steps) -> None:
    ids, failed, home_id = fresh(home), 0, home.id
    for step in steps:
        wanted, before, objects = everything(home), rows_of(home_id), buckets.listing()
        try:
            with database_failing_at(step) as taken:
                edit.apply(home, wanted)
        except SQLAlchemyError:
            failed += 1
            assert rows_of(home_id) == before, taken
            left = collect_orphans()
            assert not left or taken[-1] == "COMMIT", (
                "after a failed commit the sweep decides; otherwise nothing is left"
            )
            assert buckets.listing() == objects, taken
            continue
        assert_done(home, ids)
        if len(taken) >= step:  # the failure came after the commit: the edit stands, and the rest is done later
            collect_orphans()
            assert_whole(home, buckets)
            ids = fresh(home)
            continue
        assert_whole(home, buckets)
        break
    steps.assert_found(failed, at_least=12)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_commit_whose_answer_is_lost_keeps_its_objects(home: Property, buckets: Buckets) -> None:
    """The edit is done, but nobody can know: an error is returned, and no object that a row may name is deleted."""
    ids, wanted = fresh(home), everything(home)
    with commit_without_an_answer(), pytest.raises(DBAPIError):
        edit.apply(home, wanted)
    assert_done(home, ids)
    assert len(collect_orphans()) == 5, "the objects to be dropped"
    assert_whole(home, buckets)
