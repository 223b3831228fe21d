"""Results of deliveries are recorded together; a bad row or a failing database does not lose the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from portal.db import db, writing
from portal.dispatch import recorder
from portal.webhooks import delivery
from portal.work import work
from tests.conftest import BOTH
from tests.factories import Person
from tests.faults import database_failing_at
from tests.outside import Reply, Seen, outside
from tests.webhooks.sending import happen, listening, ok, sent

SOME = (6, 12)  # of the steps at which the database fails
STEPS = [*SOME, *(pytest.param(n, marks=pytest.mark.storm) for n in range(1, 40) if n not in SOME)]
REFUSED = "an answer that the database refuses"

pytestmark = pytest.mark.parametrize("database", BOTH, indirect=True)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_DELAYS_S", (0.01,) * len(recorder.RETRY_DELAYS_S))


@contextmanager
def database_refusing(answer: str) -> Iterator[None]:
    """Make the database refuse every row with this answer."""
    sqlite = (
        f"CREATE TRIGGER refusing BEFORE UPDATE ON webhook_delivery WHEN NEW.answer = '{answer}' "
        "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "DROP TRIGGER refusing",
    )
    postgresql = (
        f"ALTER TABLE webhook_delivery ADD CONSTRAINT refusing CHECK (answer <> '{answer}')",
        "ALTER TABLE webhook_delivery DROP CONSTRAINT refusing",
    )
    begin, end = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    with work():
        db.session.execute(text(begin))
    try:
        yield
    finally:
        db.session.rollback()
        with work():
            db.session.execute(text(end))


def test_one_row_that_cannot_be_recorded_causes_no_other_to_be_resent(alice: Person) -> None:
    def answer(seen: Seen) -> Reply:
        return Reply(body=REFUSED.encode()) if len(receiver.seen) == 5 else Reply()

    with outside(answer) as receiver:
        listening(alice, receiver.url)
        happen(alice, 20)
        with database_refusing(REFUSED):
            assert delivery.run() == 20
        assert delivery.run() == 0, "the lease of the bad one still holds"
        assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == len(receiver.seen) == 20
    assert Counter(one.state for one in sent()) == {"delivered": 19, "pending": 1}


def test_deliveries_are_claimed_and_recorded_in_batches(alice: Person) -> None:
    changes = 0

    def count(_: object) -> None:
        nonlocal changes
        changes += writing.get()

    with outside(ok) as receiver:
        for _ in range(2):
            listening(alice, receiver.url)
        happen(alice, 30)
        event.listen(db.engine, "commit", count)
        try:
            assert delivery.run() == 60
        finally:
            event.remove(db.engine, "commit", count)
    assert changes < 60


@pytest.mark.parametrize("step", STEPS)
def test_a_database_that_fails_once_causes_nothing_to_be_sent_twice(alice: Person, step: int) -> None:
    with outside(ok) as receiver:
        listening(alice, receiver.url)
        happen(alice, 4)
        with database_failing_at(step):
            until_sent()
        assert len(receiver.seen) == 4
    assert {one.state for one in sent()} == {"delivered"}


def until_sent() -> None:
    """Run as RQ does: once more if a run fails."""
    try:
        delivery.run()
    except Exception:
        delivery.run()
