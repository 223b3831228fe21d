"""Pixels made inside a request: in the order in which they came, and what nobody asked for breaks nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from portal.config import settings
from portal.errors import TooMany
from portal.images import edit
from portal.images.edit import Change
from portal.images.models import PENDING, READY, Property
from portal.images.variants import rendering
from portal.images.variants.rendering import FairSemaphore
from tests import factories
from tests.buckets import Buckets
from tests.faults import bucket_behind_a_proxy
from tests.images.galleries import added, assert_whole, now_in
from tests.processes import until


@contextmanager
def in_line(places: FairSemaphore, count: int) -> Iterator[list[int]]:
    """So many who wait for a place, one behind the other; yields who got one, in order. They keep it."""
    served: list[int] = []

    def wait(number: int) -> None:
        if places.acquire(timeout=30):
            served.append(number)

    with ExitStack() as threads:
        for number in range(count):
            thread = threading.Thread(target=wait, args=(number,))
            thread.start()
            threads.callback(thread.join, timeout=60)
            until(lambda number=number: len(places._waiting) == number + 1)  # type: ignore[misc]
        yield served


def test_places_are_given_to_those_who_came_first() -> None:
    places = FairSemaphore(1)
    assert places.acquire(timeout=0)
    with in_line(places, 5) as served:
        for number in range(5):
            places.release()
            assert not places.acquire(timeout=0), "who has just left is behind those who wait"
            until(lambda number=number: served == [*range(number + 1)])  # type: ignore[misc]
        places.release()
    assert places.acquire(timeout=0)


def test_who_waits_no_longer_leaves_the_line_and_takes_no_place_along() -> None:
    places = FairSemaphore(2)
    assert [places.acquire(timeout=0) for _ in range(3)] == [True, True, False]
    assert not places.acquire(timeout=0.01)
    places.release()
    places.release()
    assert [places.acquire(timeout=0) for _ in range(3)] == [True, True, False]


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every place is taken, by photos of other requests."""
    monkeypatch.setattr(rendering, "WAIT_FOR_SLOT_S", 0.05)
    with ExitStack() as taken:
        for _ in range(settings().pixel_workers):
            assert rendering.slots().acquire(timeout=10)
            taken.callback(rendering.slots().release)
        yield


def test_where_there_is_no_room_a_photo_that_waits_for_its_worker_goes_on_waiting(
    home: Property, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.photo_in(home)
    before = buckets.listing()
    with no_room(monkeypatch):
        edit.apply(home, Change(fields={"name": "Birch Barn"}))
        assert home.name == "Birch Barn"
        assert [image.variants for image in now_in(home)] == [PENDING]
        with pytest.raises(TooMany):
            edit.apply(home, Change(added=[added()]))
    assert buckets.listing() == before


@pytest.mark.parametrize("method", ["PUT", pytest.param("GET", marks=pytest.mark.slow)])
def test_where_the_bucket_fails_a_photo_that_waits_for_its_worker_goes_on_waiting(
    home: Property, buckets: Buckets, method: str
) -> None:
    waiting = factories.photo_in(home)
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == method else None
        edit.apply(home, Change(fields={"name": "Birch Barn"}))
        assert [asked.method for asked in front.asked if asked.method == method] == [method]
    assert home.name == "Birch Barn"
    assert [image.variants for image in now_in(home)] == [PENDING]
    edit.apply(home, Change(fields={"name": "Alder"}))
    assert [image.variants for image in now_in(home)] == [READY]
    assert now_in(home)[0].id == waiting.id
    assert_whole(home, buckets)
