"""Large bodies are fetched a few at a time."""

import pytest

from portal.errors import TooMany
from portal.remote.large import LargeBodies


def test_slots_are_limited_and_given_back() -> None:
    bodies = LargeBodies(at_once=2, patience_s=0)
    with bodies.admitting() as first, bodies.admitting() as second, bodies.admitting() as third:
        first()
        second()
        with pytest.raises(TooMany):
            third()
    with bodies.admitting() as again:
        again()


def test_small_bodies_take_no_slot() -> None:
    bodies = LargeBodies(at_once=1, patience_s=0)
    with bodies.admitting(), bodies.admitting() as admit:
        admit()
