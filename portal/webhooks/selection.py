"""Which deliveries are sent next: a few of each endpoint, so that no queue and no hanging receiver delays another."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select

from portal.db import db
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.webhooks.models import Delivery, Endpoint

# A destination is an endpoint. One worker has threads for forty hanging receivers, and more for others.
LIMITS = ConcurrencyLimits(quick_tasks=64, threads=200, per_destination=4, per_workspace=8)
CANDIDATES = 1000  # considered for each pick
AS_CANDIDATE = (
    Delivery.id,
    Delivery.endpoint_id,
    Endpoint.workspace_id,
    Endpoint.failing_since.is_not(None).label("is_failing"),
)


def pick(limit: int, at: datetime) -> list[int]:
    """Return the ids of the deliveries to send now, within the limits of all workers together."""
    busy = _busy(at)
    return LIMITS.pick(_due(at, busy), busy, limit)


def _busy(at: datetime) -> list[Candidate]:
    """Return the deliveries that workers are sending now."""
    busy = select(*AS_CANDIDATE).join(Endpoint, Delivery.endpoint_id == Endpoint.id).where(Delivery.sending_until > at)
    return [Candidate(*row) for row in db.session.execute(busy)]


def _due(at: datetime, busy: Sequence[Candidate]) -> list[Candidate]:
    """Return the first due deliveries of each endpoint, except where the limit is already in flight."""
    endpoints, workspaces = LIMITS.saturated(busy)
    rank = func.row_number().over(partition_by=Delivery.endpoint_id, order_by=Delivery.next_at)
    due = (
        select(*AS_CANDIDATE, rank.label("rank"))
        .join(Endpoint, Delivery.endpoint_id == Endpoint.id)
        .where(
            Delivery.next_at <= at,
            Delivery.endpoint_id.not_in(endpoints),
            Endpoint.workspace_id.not_in(workspaces),
        )
        .subquery()
    )
    first = select(due).where(due.c.rank <= LIMITS.per_destination).order_by(due.c.rank, due.c.id).limit(CANDIDATES)
    return [Candidate(*row[:4]) for row in db.session.execute(first)]
