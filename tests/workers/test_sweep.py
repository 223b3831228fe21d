"""The steps of the sweep are independent: one that fails blocks no other, and is visible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from portal.db import db, now
from portal.images.models import Image, Property
from portal.infra import jobs
from portal.webhooks import endpoints
from portal.work import work
from tests import factories
from tests.factories import Person
from tests.webhooks.sending import listening
from workers import sweep


@contextmanager
def without(table: str) -> Iterator[None]:
    """Make every step fail that queries this table."""
    with work():
        db.session.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere"))
    try:
        yield
    finally:
        db.session.rollback()
        with work():
            db.session.execute(text(f"ALTER TABLE elsewhere RENAME TO {table}"))


def test_a_failing_step_does_not_prevent_others_from_enqueuing(
    alice: Person, home: Property, caplog: pytest.LogCaptureFixture
) -> None:
    image = factories.photo_in(home)
    endpoints.send_test(listening(alice, "http://127.0.0.1:9/"))
    with work():
        db.session.execute(update(Image).values(pending_since=now() - timedelta(minutes=5)))
    jobs.connection().flushall()
    with (
        without("import_item"),
        pytest.raises(sweep.StepsFailed, match=r"1 of \d+ steps failed: images\.imports\.fetch"),
    ):
        sweep.sweep()
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [jobs.make_variants(image.id).id], "a step before it"
    assert jobs.queue(jobs.WEBHOOKS).get_job_ids() == [jobs.deliver_webhooks().id], "and a step after it"
    assert "step failed: images.imports.fetch.enqueue_missing" in caplog.text


def test_a_failing_step_does_not_prevent_others_from_cleaning_up(alice: Person, home: Property) -> None:
    factories.uploaded(home, factories.jpeg())
    with work():
        db.session.execute(text("UPDATE upload SET expires_at = created_at"))
    with (
        without("webhook_delivery"),
        pytest.raises(sweep.StepsFailed, match=r"1 of \d+ .* webhooks\.delivery"),
    ):
        sweep.tidy()
    assert db.session.execute(text("SELECT count(*) FROM upload")).scalar() == 0


def test_a_failed_sweep_does_not_wait_for_a_retry() -> None:
    """While it waited in RQ's schedule, the clock would take it for one that is due by itself."""
    assert jobs.sweep().retry_intervals_s == (0,)
