"""Delivery logs: the last calls of each endpoint, and the full log of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import String, case, cast, func, literal_column, select, union_all

from portal.db import MAX_ID, db, is_id
from portal.errors import Invalid, demand_known
from portal.webhooks.models import DELIVERED, FAILED, PENDING, Delivery, Endpoint

CALLS_SHOWN = 20
MAX_PAGE = 100

IS_OPEN = Delivery.state != literal_column(f"'{DELIVERED}'")  # a literal, so that SQLite uses the partial index
REASON = case(
    (Delivery.status.is_(None), func.coalesce(Delivery.answer, "")),
    else_="The receiver answered " + cast(Delivery.status, String) + ".",
)
"""Why a delivery failed, as a sentence: `Delivery.failure` in SQL."""


class Call(NamedTuple):
    """A delivery that was attempted at least once, and its state."""

    state: str
    status: int | None
    took_ms: int | None
    last_at: datetime
    next_at: datetime | None

    @property
    def succeeded(self) -> bool:
        return self.state == DELIVERED

    @property
    def is_in_flight(self) -> bool:
        """Whether the first response is still awaited."""
        return self.state == PENDING and self.took_ms is None


class Page(NamedTuple):
    """Some deliveries, newest first, and the cursor of the next page."""

    items: list[Delivery]
    next_cursor: str | None


def last_calls(endpoints: Sequence[Endpoint]) -> dict[int, list[Call]]:
    """Map endpoint ids to their last CALLS_SHOWN calls, oldest first, in one indexed statement."""
    columns = (Delivery.state, Delivery.status, Delivery.took_ms, Delivery.last_at, Delivery.next_at)
    attempted = select(Delivery.endpoint_id, *columns).where(Delivery.last_at.is_not(None)).order_by(Delivery.id.desc())
    each = [
        attempted.where(Delivery.endpoint_id == endpoint.id).limit(CALLS_SHOWN).subquery() for endpoint in endpoints
    ]
    found: dict[int, list[Call]] = {endpoint.id: [] for endpoint in endpoints}
    for row in db.session.execute(union_all(*map(select, each))) if each else []:
        found[row.endpoint_id].append(Call(*row[1:]))
    return {endpoint_id: sorted(calls, key=lambda call: call.last_at) for endpoint_id, calls in found.items()}


def log(endpoint: Endpoint, *, state: str | None = None, after: str | None = None, limit: int = 30) -> Page:
    """Return a page of an endpoint's deliveries, newest first. Raises Invalid for an unknown state or cursor.

    `state` is PENDING (waiting) or FAILED (given up).
    """
    query = select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.id < _position(after))
    demand_known("state", state, (PENDING, FAILED))
    if state is not None:
        query = query.where(IS_OPEN, Delivery.state == state)
    limit = max(1, min(limit, MAX_PAGE))
    rows = list(db.session.scalars(query.order_by(Delivery.id.desc()).limit(limit + 1)))
    return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)


def open_counts(endpoint: Endpoint) -> dict[str, int]:
    """Count an endpoint's pending and failed deliveries, by state."""
    query = select(Delivery.state, func.count()).where(Delivery.endpoint_id == endpoint.id, IS_OPEN)
    rows = db.session.execute(query.group_by(Delivery.state))
    return {PENDING: 0, FAILED: 0, **{row[0]: row[1] for row in rows}}


def _position(cursor: str | None) -> int:
    if cursor is None:
        return MAX_ID
    if not is_id(cursor):
        raise Invalid("Invalid cursor.", code="cursor")
    return int(cursor)
