"""SIGKILL at every step of an edit: it is done completely or not at all, and can be repeated."""

from __future__ import annotations

import pytest

from portal import config
from portal.db import db
from portal.images import edit
from portal.images.models import Property
from tests.buckets import collect_orphans
from tests.conftest import KILLED, Buckets
from tests.crashes import Steps, dies_at
from tests.images.galleries import assert_whole, named, rows_of
from tests.images.test_edit_faults import assert_done, everything, fresh
from tests.processes import until


def change_everything(property_id: int) -> None:
    home = db.session.get_one(Property, property_id)
    edit.apply(home, everything(home))


def sweep(buckets: Buckets) -> None:
    """Objects on their way to the bucket at the kill may arrive a little later; the real sweep waits for a day."""

    def is_swept() -> bool:
        db.session.rollback()  # fresh rows, with what was committed before the kill
        collect_orphans()
        return buckets.listing() == named()

    until(is_swept)


@pytest.mark.parametrize("database", KILLED, indirect=True)
def test_an_edit_killed_at_any_step_is_done_or_can_be_repeated(home: Property, buckets: Buckets, steps: Steps) -> None:
    ids, deaths = fresh(home), 0
    for step in steps:
        before, objects = rows_of(home.id), buckets.listing()
        lived = dies_at(step, config.settings(), change_everything, home.id)
        sweep(buckets)
        if not lived and rows_of(home.id) == before:
            assert buckets.listing() == objects
        else:
            assert_done(home, ids)
            assert_whole(home, buckets)
            ids = fresh(home)
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=36)
