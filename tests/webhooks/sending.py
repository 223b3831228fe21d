"""Shared by tests of deliveries: a listening endpoint, an event, what was sent."""

from __future__ import annotations

from sqlalchemy import select, update

from portal.db import db, now
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery, Endpoint
from portal.work import work
from tests.factories import Person
from tests.outside import Reply, Seen


def ok(_: Seen) -> Reply:
    return Reply()


def listening(person: Person, url: str) -> Endpoint:
    return endpoints.create(person.workspace, url, [events.PROPERTY_UPDATED])


def happen(person: Person, times: int = 1) -> None:
    with work() as w:
        for _ in range(times):
            events.emit(w, person.workspace.id, events.PROPERTY_UPDATED, {"id": "x"})


def sent() -> list[Delivery]:
    db.session.rollback()
    return list(db.session.scalars(select(Delivery).order_by(Delivery.id)))


def make_due() -> None:
    with work():
        db.session.execute(update(Delivery).where(Delivery.state == "pending").values(next_at=now()))
