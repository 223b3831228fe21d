"""Redis may forget everything: the rows know what is to be done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, insert

from portal.accounts.models import Workspace
from portal.db import Base, now
from portal.embedded import Server
from portal.images.models import Image, Property
from tests.processes import until
from tests.workers.conftest import Yard, laid_out

PENDING_IMAGE = 7


@pytest.fixture(scope="module")
def at_work(valkey: Server) -> Iterator[Yard]:
    """A schedule worker, and one image that has waited too long."""
    with laid_out(valkey, database=2) as yard:
        engine = create_engine(f"sqlite:///{yard.directory / 'frontage.db'}")
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Workspace).values(id=1, name="Alma Stays"))
            connection.execute(insert(Property).values(id=1, workspace_id=1, name="Alder Cottage"))
            connection.execute(
                insert(Image).values(
                    id=PENDING_IMAGE,
                    property_id=1,
                    key="key",
                    original_key="original",
                    file_name="photo.jpg",
                    type="image/jpeg",
                    size_bytes=1,
                    width=1,
                    height=1,
                    sha256="0" * 64,
                    position=0,
                    pending_since=now() - timedelta(minutes=1),
                )
            )
        engine.dispose()
        yard.worker(queue="schedule")
        yield yard


@pytest.mark.slow  # a sweep in this process: test_sweep.py
def test_after_flushall_pending_images_are_enqueued_again(at_work: Yard) -> None:
    until(lambda: _is_enqueued(at_work))
    at_work.redis.flushdb()
    until(lambda: at_work.known("schedule"))  # it registers again: readyz sees it
    until(lambda: _is_enqueued(at_work))
    assert [program.poll() for program in at_work.programs] == [None]


@pytest.mark.slow
def test_a_job_that_is_in_its_queue_is_not_enqueued_twice(at_work: Yard) -> None:
    until(lambda: _is_enqueued(at_work))
    again = at_work.queue("schedule").enqueue_call("workers.sweep.sweep")
    until(lambda: at_work.status(again) == "finished")
    assert at_work.queue("pixels").get_job_ids() == [f"make_variants-{PENDING_IMAGE}"]


def _is_enqueued(yard: Yard) -> bool:
    return f"make_variants-{PENDING_IMAGE}" in yard.queue("pixels").get_job_ids()
