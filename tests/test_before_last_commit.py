"""before_last_commit(): two independent changes of rows in one commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from portal.accounts.models import Workspace
from portal.db import db, writing
from portal.images import properties
from portal.images.models import Property
from portal.infra import jobs, storage
from portal.inventory import RENDITION
from portal.work import before_last_commit, work
from tests import factories
from tests.conftest import MATRIX, Buckets
from tests.factories import Person

State = Callable[[], tuple[int, str]]
pytestmark = pytest.mark.parametrize("database", MATRIX, indirect=True)


@pytest.fixture
def hook(alice: Person) -> Callable[[], None]:
    """Changes a row that the block does not touch."""
    id = alice.workspace.id
    return lambda: void(db.session.execute(update(Workspace).where(Workspace.id == id).values(plan_name="pro")))


def void(_: object) -> None:
    return None


@pytest.fixture
def state(app: Flask) -> State:
    """What another connection sees: how many properties, and which plan."""

    def look() -> tuple[int, str]:
        with app.app_context():
            count = db.session.scalar(select(func.count()).select_from(Property))
            return count or 0, db.session.scalar(select(Workspace.plan_name)) or ""

    def elsewhere() -> tuple[int, str]:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(look).result(timeout=60)

    return elsewhere


def test_the_change_waits_for_its_hook_and_both_are_committed(
    alice: Person, hook: Callable[[], None], state: State
) -> None:
    with before_last_commit(hook):
        property = factories.home_of(alice.workspace)
        assert property.id, "generated values are known already"
        assert state() == (0, "free")
    assert state() == (1, "pro")
    assert not writing.get()


def test_a_block_that_raises_rolls_back_its_change_and_skips_the_hook(
    alice: Person, hook: Callable[[], None], buckets: Buckets, state: State
) -> None:
    with pytest.raises(ZeroDivisionError), before_last_commit(hook):
        with work() as w:
            w.put(storage.cdn, "derived/a.webp", b"a", "image/webp", RENDITION)
            w.enqueue(jobs.make_variants(7))
        factories.home_of(alice.workspace)
        raise ZeroDivisionError
    assert state() == (0, "free")
    assert not writing.get()


def test_the_last_change_is_rolled_back_with_its_objects(
    alice: Person, hook: Callable[[], None], buckets: Buckets
) -> None:
    with pytest.raises(ZeroDivisionError), before_last_commit(hook):
        with work() as w:
            w.put(storage.cdn, "derived/a.webp", b"a", "image/webp", RENDITION)
            w.enqueue(jobs.make_variants(7))
        raise ZeroDivisionError
    assert buckets.listing() == set()
    assert jobs.queue(jobs.PIXELS).count == 0


def test_a_hook_that_raises_rolls_back_the_change(alice: Person, buckets: Buckets, state: State) -> None:
    def falls() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), before_last_commit(falls), work() as w:
        w.put(storage.cdn, "derived/a.webp", b"a", "image/webp", RENDITION)
        db.session.add(Property(workspace_id=alice.workspace.id, name="Barn"))
    assert state() == (0, "free")
    assert buckets.listing() == set()


def test_objects_are_dropped_and_jobs_enqueued_only_after_the_common_commit(
    alice: Person, hook: Callable[[], None], buckets: Buckets
) -> None:
    storage.cdn.put("derived/old.webp", b"old", "image/webp")
    with before_last_commit(hook):
        with work() as w:
            w.drop(storage.cdn, "derived/old.webp")
            w.enqueue(jobs.make_variants(7))
        assert len(buckets.listing()) == 1
        assert jobs.queue(jobs.PIXELS).count == 0
    assert buckets.listing() == set()
    assert jobs.queue(jobs.PIXELS).count == 1


def test_only_the_last_of_two_changes_waits(alice: Person, hook: Callable[[], None], state: State) -> None:
    with before_last_commit(hook):
        factories.home_of(alice.workspace)
        factories.home_of(alice.workspace, "Birch Barn")
        assert state() == (1, "free")
    assert state() == (2, "pro")


def test_a_hook_without_a_change_commits_alone(alice: Person, hook: Callable[[], None], state: State) -> None:
    with before_last_commit(hook):
        properties.page(alice.workspace)
    assert state() == (0, "pro")


def test_a_failed_change_inside_does_not_block_the_next_one(
    alice: Person, hook: Callable[[], None], state: State
) -> None:
    with before_last_commit(hook):
        with pytest.raises(ZeroDivisionError), work():
            db.session.add(Property(workspace_id=alice.workspace.id, name="Barn"))
            raise ZeroDivisionError
        factories.home_of(alice.workspace)
    assert state() == (1, "pro")
