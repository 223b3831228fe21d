"""work(): rows, objects and jobs change together or not at all, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

import portal.db
from portal.db import db, release
from portal.images.models import Property
from portal.infra import jobs, storage
from portal.inventory import RENDITION
from portal.work import lock, work
from tests import factories
from tests.conftest import Buckets, on_both, on_each
from tests.factories import Person
from tests.processes import until


class Broken(Exception):
    """A failure in the middle of a change."""


@on_each
def test_a_change_commits_its_rows_then_drops_objects_and_enqueues_jobs(home: Property, buckets: Buckets) -> None:
    storage.cdn.put("derived/old.webp", b"old", "image/webp")
    with work() as w:
        assert lock(home)
        home.name = "Birch House"
        w.put(storage.cdn, "derived/new.webp", b"new", "image/webp", RENDITION)
        w.drop(storage.cdn, "derived/old.webp")
        w.enqueue(jobs.make_variants(7))
        assert ("frontage-cdn", "derived/old.webp") in buckets.listing(), "nothing is dropped before the commit"
        assert jobs.queue(jobs.PIXELS).count == 0, "nothing is enqueued before the commit"
    db.session.rollback()
    assert db.session.get_one(Property, home.id).name == "Birch House"
    assert buckets.listing() == {("frontage-cdn", "derived/new.webp")}
    assert jobs.queue(jobs.PIXELS).get_job_ids() == ["make_variants-7"]


@on_both
def test_a_failed_change_leaves_rows_objects_and_queues_as_they_were(home: Property, buckets: Buckets) -> None:
    storage.cdn.put("derived/old.webp", b"old", "image/webp")
    before = buckets.listing()
    with pytest.raises(Broken), work() as w:
        assert lock(home)
        home.name = "Birch House"
        w.put(storage.cdn, "derived/new.webp", b"new", "image/webp", RENDITION)
        w.drop(storage.cdn, "derived/old.webp")
        w.enqueue(jobs.make_variants(7))
        raise Broken
    assert home.name == "Alder Cottage"
    assert buckets.listing() == before
    assert jobs.queue(jobs.PIXELS).count == 0


@on_both
def test_a_commit_that_the_database_refuses_rolls_back_the_objects_too(alice: Person, buckets: Buckets) -> None:
    taken = factories.home_of(alice.workspace).uuid
    with pytest.raises(Exception, match=r"(?i)unique"), work() as w:
        w.put(storage.cdn, "derived/new.webp", b"new", "image/webp", RENDITION)
        db.session.add(Property(workspace_id=alice.workspace.id, name="Twin", uuid=taken))
    assert buckets.listing() == set()


@on_each
def test_changes_outside_of_work_are_refused(home: Property) -> None:
    home.name = "Birch House"
    with pytest.raises(AssertionError, match="outside work"), work():
        pass
    db.session.rollback()


@on_each
def test_nested_work_is_refused(app: Any) -> None:
    with pytest.raises(AssertionError, match="inside work"), work(), work():
        pass


@on_each
def test_a_row_that_is_gone_cannot_be_locked(home: Property) -> None:
    with work():
        db.session.execute(Property.__table__.delete())
        assert not lock(home)


@on_both
def test_a_lock_reads_the_current_row(home: Property) -> None:
    assert home.name == "Alder Cottage"
    with db.engine.begin() as other:
        other.execute(update(Property).values(name="Changed meanwhile"))
    with work():
        assert lock(home)
        assert home.name == "Changed meanwhile"


@on_both
def test_ten_threads_that_read_then_write_lose_no_count(home: Property, at_once: Callable[..., list[Any]]) -> None:
    """Reading before locking is the classic mistake: 800 such transactions once ended at 103."""

    def count_up(property_id: int) -> None:
        mine = db.session.get_one(Property, property_id)
        for _ in range(10):
            with work():
                assert lock(mine)
                mine.gallery_version += 1

    assert at_once(count_up, *[(home.id,)] * 10) == [None] * 10
    assert db.session.scalar(select(Property.gallery_version).execution_options(populate_existing=True)) == 100


@on_each
def test_a_job_that_cannot_be_enqueued_does_not_fail_the_change(
    home: Property, caplog: pytest.LogCaptureFixture
) -> None:
    with work() as w:
        assert lock(home)
        home.name = "Birch House"
        w.enqueue(jobs.Job("workers.images.make_variants", (object(),), jobs.PIXELS, 1))  # type: ignore[arg-type]
    assert db.session.get_one(Property, home.id).name == "Birch House"
    assert "left to the sweep" in caplog.text


def test_a_change_that_waits_too_long_for_sqlites_lock_is_refused_and_the_next_one_works(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal.db, "BUSY_TIMEOUT_S", 0.1)
    file = str(db.engine.url.database)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"), work():
            lock(home)
    with work():
        assert lock(home)
        home.name = "Birch House"
    assert db.session.get_one(Property, home.id).name == "Birch House"


def test_changes_queue_for_the_lock_and_all_are_written(home: Property, at_once: Callable[..., list[Any]]) -> None:
    """While another process holds the lock, all of them wait; then each of them writes."""
    with closing(sqlite3.connect(str(db.engine.url.database), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        def write() -> None:
            with work():
                mine = db.session.get_one(Property, home_id)
                lock(mine)
                mine.name += "."

        def let_go() -> None:
            until(lambda: portal.db._write_queue.locked())
            other.execute("ROLLBACK")

        home_id, before = home.id, home.name
        assert at_once(lambda do: do(), *[(write,)] * 10, (let_go,)) == [None] * 11
    assert home.name == before + "." * 10


def test_the_connection_is_never_released_in_the_middle_of_a_change(home: Property) -> None:
    """That would silently roll back the change."""
    with pytest.raises(AssertionError, match="a change would be undone"), work():
        release()
    home.name = "Not yet committed"
    with pytest.raises(AssertionError, match="outside work"):
        release()
    db.session.rollback()
    release()
