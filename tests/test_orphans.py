"""What nobody owns goes from the buckets, and nothing that somebody owns ever does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from portal import orphans, owners, storage
from portal.db import now
from tests.conftest import Buckets
from tests.faults import bucket_behind_a_proxy
from workers import sweep

AT_ONCE = timedelta(seconds=-5)
pytestmark = pytest.mark.usefixtures("app")


def stored(*keys: str) -> None:
    for key in keys:
        storage.cdn.put(key, b"x", "image/webp")


def names(*keys: str) -> orphans.Named:
    def named(asked: Sequence[str]) -> set[str]:
        return set(asked) & set(keys)

    return named


def left(buckets: Buckets) -> set[str]:
    return {key for _, key in buckets.listing()}


def test_what_no_owner_names_is_collected(buckets: Buckets) -> None:
    stored("a", "b", "c", "d")
    assert orphans.collect(storage.cdn, [names("a"), names("c")], AT_ONCE) == ["b", "d"]
    assert left(buckets) == {"a", "c"}


def test_what_is_younger_than_a_day_is_left_alone(buckets: Buckets) -> None:
    stored("young")
    assert owners.collect_orphans() == []
    assert left(buckets) == {"young"}


def test_owners_are_asked_for_some_keys_at_a_time(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "BATCH", 2)
    stored("a", "b", "c", "d", "e")
    asked: list[int] = []

    def counting(keys: Sequence[str]) -> set[str]:
        asked.append(len(keys))
        return set(keys) - {"e"}

    assert orphans.collect(storage.cdn, [counting], AT_ONCE) == ["e"]
    assert asked == [2, 2, 1]


@pytest.mark.parametrize(("orphaned", "is_ours"), [(4, True), (5, False)])
def test_a_bucket_of_which_too_much_has_no_row_is_not_this_databases(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, orphaned: int, is_ours: bool
) -> None:
    monkeypatch.setattr(orphans, "SUSPICIOUS", 2)
    keys = [f"k{n:02}" for n in range(20)]
    stored(*keys)
    gone = orphans.collect(storage.cdn, [names(*keys[orphaned:])], AT_ONCE)
    assert len(gone) == (orphaned if is_ours else 0)
    assert len(left(buckets)) == 20 - len(gone)
    assert ("is this its database?" in caplog.text) is not is_ours


def test_an_object_that_cannot_be_deleted_keeps_no_other(buckets: Buckets) -> None:
    stored("a", "b")
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == "DELETE" and asked.path.endswith("/a") else None
        orphans.collect(storage.cdn, [], AT_ONCE)
    assert left(buckets) == {"a"}


def test_the_nightly_tidying_collects_in_both_buckets(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    stored("derived/orphan")
    storage.uploads.put("images/orphan", b"x", "image/jpeg")
    monkeypatch.setattr(orphans, "now", lambda: now() + timedelta(days=2))
    sweep.tidy()
    assert left(buckets) == set()
