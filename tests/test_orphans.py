"""Objects that no row names are deleted from the buckets in time, and no others ever are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from portal import garbage, orphans
from portal.db import db, now
from portal.errors import StorageFailed
from portal.garbage import Garbage, UnknownObject
from portal.infra import storage
from portal.work import work
from tests.buckets import AT_ONCE, Buckets
from tests.faults import bucket_behind_a_proxy
from workers import sweep

pytestmark = pytest.mark.usefixtures("app")


def stored(*keys: str) -> None:
    for key in keys:
        storage.cdn.put(key, b"x", "image/webp")


def thrown_away(*keys: str) -> None:
    with work():
        garbage.add([(storage.cdn, key) for key in keys], after=timedelta())


def names(*keys: str) -> orphans.FindReferenced:
    def named(asked: Sequence[str]) -> set[str]:
        return set(asked) & set(keys)

    return named


def left() -> set[str]:
    return {key for _, key in Buckets().listing()}


def garbage_rows() -> set[str]:
    return set(db.session.scalars(select(Garbage.key)))


def days_pass(days: int) -> None:
    with work():
        db.session.execute(update(UnknownObject).values(first_seen_at=now() - timedelta(days=days)))


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys that rows name; a test adds and removes some."""
    keys: set[str] = set()
    monkeypatch.setitem(orphans.REFERENCES, "cdn", (lambda asked: set(asked) & keys,))
    return keys


def test_an_unknown_object_is_deleted_if_it_is_still_unknown_a_week_later(owned: set[str]) -> None:
    stored("owned", "unknown")
    owned.add("owned")
    assert orphans.find(AT_ONCE) == []
    days_pass(6)
    assert orphans.find(AT_ONCE) == []
    days_pass(8)
    assert orphans.find(AT_ONCE) == ["unknown"]
    assert orphans.collect() == 1
    assert left() == {"owned"}
    assert not garbage_rows()
    assert not db.session.scalars(select(UnknownObject)).all()


def test_an_object_that_gets_its_row_is_no_longer_unknown(owned: set[str]) -> None:
    stored("late")
    orphans.find(AT_ONCE)
    owned.add("late")
    orphans.find(AT_ONCE)
    owned.clear()
    days_pass(8)
    assert orphans.find(AT_ONCE) == [], "its week restarts"
    assert left() == {"late"}


def test_objects_younger_than_a_day_are_ignored(owned: set[str]) -> None:
    stored("young")
    assert orphans.find(keep_for=timedelta()) == []
    assert not db.session.scalars(select(UnknownObject)).all()


def test_keys_are_looked_up_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "BATCH", 2)
    stored("a", "b", "c", "d", "e")
    asked: list[int] = []

    def counting(keys: Sequence[str]) -> set[str]:
        asked.append(len(keys))
        return set(keys) - {"e"}

    monkeypatch.setitem(orphans.REFERENCES, "cdn", (counting,))
    assert orphans.find(AT_ONCE, keep_for=timedelta()) == ["e"]
    assert asked == [2, 2, 1]


@pytest.mark.parametrize(("orphaned", "is_ours"), [(4, True), (5, False)])
def test_a_bucket_with_too_many_unknown_objects_belongs_to_another_database(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, orphaned: int, is_ours: bool
) -> None:
    monkeypatch.setattr(orphans, "MAX_UNKNOWN", 2)
    keys = [f"k{n:02}" for n in range(20)]
    stored(*keys)
    monkeypatch.setitem(orphans.REFERENCES, "cdn", (names(*keys[orphaned:]),))
    found = orphans.find(AT_ONCE, keep_for=timedelta())
    assert len(found) == (orphaned if is_ours else 0)
    assert ("is this its database?" in caplog.text) is not is_ours


def test_known_garbage_does_not_count_towards_the_unknown_share(
    owned: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "MAX_UNKNOWN", 2)
    keys = [f"k{n:02}" for n in range(20)]
    stored(*keys)
    owned.add(keys[0])
    thrown_away(*keys[1:])
    assert orphans.find(AT_ONCE, keep_for=timedelta()) == []
    assert orphans.collect() == 19
    assert left() == {keys[0]}


def test_garbage_that_a_row_names_stays(owned: set[str], caplog: pytest.LogCaptureFixture) -> None:
    stored("a", "b")
    thrown_away("a", "b")
    owned.add("a")
    orphans.collect()
    assert left() == {"a"}
    assert not garbage_rows()
    assert "garbage is in use" in caplog.text


def test_an_object_that_cannot_be_deleted_keeps_its_row_and_blocks_no_other() -> None:
    thrown_away("a", "b")
    refused = b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: refused if asked.method == "POST" else None
        assert orphans.collect() == 1
    assert garbage_rows() == {"a"}


def test_garbage_is_kept_while_the_bucket_is_unavailable() -> None:
    stored("a")
    thrown_away("a")
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 503 if asked.method == "POST" else None
        with pytest.raises(StorageFailed):
            orphans.collect()
    assert orphans.collect() == 0, "the worker that took it may still be busy"
    with work():
        db.session.execute(update(Garbage).values(next_at=now()))
    assert orphans.collect() == 1
    assert left() == set()


def test_garbage_is_deleted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_KEYS", 20)
    thrown_away(*(f"derived/{n}" for n in range(45)))
    with bucket_behind_a_proxy() as front:
        assert orphans.collect() == 45
    assert len([asked for asked in front.asked if asked.method == "POST"]) == 3


def test_the_nightly_clean_up_checks_both_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    stored("derived/orphan")
    storage.uploads.put("images/orphan", b"x", "image/jpeg")
    monkeypatch.setattr(orphans, "now", lambda: now() + timedelta(days=2))
    sweep.tidy()
    assert left() == {"derived/orphan", "images/orphan"}, "they are watched for a week"
    monkeypatch.setattr(orphans, "now", lambda: now() + timedelta(days=10))
    sweep.tidy()
    sweep.collect_garbage()
    assert left() == set()


def test_an_unavailable_bucket_keeps_no_garbage_of_the_other() -> None:
    storage.uploads.put("images/a", b"x", "image/jpeg")
    with work():
        garbage.add([(storage.cdn, "derived/a"), (storage.uploads, "images/a")], after=timedelta())
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 503 if asked.method == "POST" and "cdn" in asked.path else None
        with pytest.raises(StorageFailed):
            orphans.collect()
    assert left() == set()
    assert garbage_rows() == {"derived/a"}


def test_a_run_out_of_time_enqueues_its_successor(monkeypatch: pytest.MonkeyPatch, work_off: Callable[[], int]) -> None:
    """Imports run in between: they wait in the same queue."""
    monkeypatch.setattr(storage, "MAX_KEYS", 2)
    monkeypatch.setattr(orphans, "COLLECT_FOR_S", 0)
    thrown_away("a", "b", "c")
    assert orphans.collect() == 2
    assert work_off() == 2
    assert not garbage_rows()
