"""Whose turn it is: a place that many want is shared, whoever came first with however much."""

from __future__ import annotations

from collections import Counter

from portal.errands import Shares, Turn

SHARES = Shares(side_by_side=16, per_place=6, per_workspace=6)
FIRST = [Turn(id, "cdn.example", 1, is_suspect=False) for id in range(100)]
LATER = [Turn(id, "cdn.example", 2, is_suspect=False) for id in range(100, 105)]


def test_who_came_first_with_much_does_not_keep_a_place_to_himself() -> None:
    chosen = SHARES.choose(FIRST + LATER, [], 16)
    assert sorted(chosen) == [0, 1, 2, 100, 101, 102]


def test_a_place_that_becomes_free_goes_to_whom_has_the_least() -> None:
    assert SHARES.choose(FIRST[5:] + LATER, FIRST[:5], 16) == [100]


def test_nobody_has_more_than_a_share_and_no_place_either() -> None:
    due = [Turn(id, f"{id % 4}.example", id % 3, is_suspect=False) for id in range(200)]
    shares = Shares(side_by_side=16, per_place=4, per_workspace=5)
    chosen = shares.choose(due, [], 100)
    assert max(Counter(due[id].place for id in chosen).values()) == 4
    assert Counter(due[id].workspace_id for id in chosen) == {0: 5, 1: 5, 2: 5}


def test_of_what_failed_before_there_is_half_at_most_and_the_rest_passes_by() -> None:
    due = [Turn(id, id, id % 2, is_suspect=id < 60) for id in range(100)]
    shares = Shares(side_by_side=16, per_place=6, per_workspace=16)
    chosen = shares.choose(due, [], 16)
    assert len(chosen) == 16
    assert sum(due[id].is_suspect for id in chosen) == 8


def test_where_there_is_room_for_one_each_has_it_in_the_end_and_gives_it_to_what_waits_longest() -> None:
    """Six who were here long before, each with no end of wishes, leave it to the seventh too."""
    due = [Turn(n * 100 + id, "cdn.example", n, is_suspect=False) for n in range(7) for id in range(100)]
    chosen = Counter(SHARES.choose(due, [], 1)[0] for _ in range(500))
    assert set(chosen) == {n * 100 for n in range(7)}
