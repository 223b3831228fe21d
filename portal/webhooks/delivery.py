"""Deliveries: signed, sent side by side, noted, and tried again for two days (Standard Webhooks)."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select
from standardwebhooks import Webhook

from portal import errands, jobs, remote
from portal.db import db, now
from portal.errands import Shares, Turn
from portal.errors import Conflict, NotFound
from portal.webhooks.models import DELIVERED, FAILED, PENDING, Delivery, Endpoint
from portal.work import held, lock, work

RETRY_AFTER_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)  # Standard Webhooks, "Retries"
JITTER = 0.1
MAX_RETRY_AFTER_S = 24 * 3600  # what we grant a receiver's own Retry-After
DEADLINE_S = 15
LEASE = timedelta(seconds=60)  # an attempt whose worker died is due again then
SHARES = Shares(side_by_side=128, per_place=4, per_workspace=8)  # a place is an endpoint (cases F6, H7)
CANDIDATES = 1000
KEPT_ANSWER = 2_000  # characters of an answer, for the page
KEPT = timedelta(days=30)  # the log of what was sent
OFF_AFTER = timedelta(days=5)  # of nothing but failures


@dataclass(frozen=True)
class _Parcel:
    """A delivery as plain values: it is sent in a thread, without the database."""

    turn: Turn
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class _Outcome:
    """What came of an attempt. No status: there was no answer."""

    status: int | None
    answer: str
    took_ms: int
    retry_after_s: int | None = None

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


BROKEN = _Outcome(None, "Something went wrong on our side.", 0)


def run() -> int:
    """Send what is due, many side by side, until nothing is; return how many attempts were made."""
    return errands.run(_claim, _post, _note, side_by_side=SHARES.side_by_side, broken=BROKEN)


def send_again(delivery: Delivery) -> None:
    """Send a delivery once more, from the start of its schedule, whatever came of it.

    Raises NotFound, and Conflict where its webhook is switched off: nothing is sent to it.
    """
    with work() as w:
        if not lock(delivery):
            raise NotFound("There is no such delivery.", code="delivery_not_found")
        if delivery.endpoint.disabled_at:
            raise Conflict("This webhook is switched off. Switch it on first.", code="webhook_off")
        if not (delivery.state == PENDING and delivery.attempts == 0):
            _renew(delivery)
            w.enqueue(jobs.deliver_webhooks())


def send_all_again(delivery_ids: Sequence[int]) -> int:
    """Send those that failed once more, but for webhooks that are switched off; return how many."""
    failed = select(Delivery).where(Delivery.id.in_(delivery_ids), Delivery.state == FAILED)
    with work() as w:
        rows = db.session.scalars(held(failed.order_by(Delivery.id), Delivery))
        deliveries = [delivery for delivery in rows if not delivery.endpoint.disabled_at]
        for delivery in deliveries:
            _renew(delivery)
        if deliveries:
            w.enqueue(jobs.deliver_webhooks())
    return len(deliveries)


def ring_again() -> int:
    """Ring where deliveries are due and no worker is on its way to them; return how many are due."""
    return errands.ring_again(Delivery.next_at, jobs.deliver_webhooks())


def _renew(delivery: Delivery) -> None:
    delivery.state, delivery.attempts, delivery.next_at = PENDING, 0, now()


def forget() -> int:
    """Delete the deliveries that ended more than KEPT ago; return how many."""
    old = delete(Delivery).where(Delivery.next_at.is_(None), Delivery.created_at < now() - KEPT)
    with work():
        return cast(CursorResult[Any], db.session.execute(old)).rowcount


def _claim(most: int, on_the_way: Sequence[_Parcel]) -> list[_Parcel]:
    """Take what is due, a few of each endpoint, with a lease; count the attempts before they are made."""
    turns = [parcel.turn for parcel in on_the_way]
    while chosen := SHARES.choose(_due(turns), turns, most):
        if parcels := _take(chosen):  # none: they were all given up, or another worker was first
            return parcels
    db.session.rollback()
    return []


def _take(chosen: Sequence[int]) -> list[_Parcel]:
    with work():
        rows = select(Delivery).where(Delivery.id.in_(chosen), Delivery.next_at <= now())
        parcels = []
        for delivery in db.session.scalars(held(rows, Delivery, skip_locked=True)):
            if why := _why_never(delivery):
                _give_up(delivery, why)
                continue
            delivery.attempts += 1
            delivery.last_at, delivery.next_at = now(), now() + LEASE
            parcels.append(_parcel(delivery))
    return parcels


def _why_never(delivery: Delivery) -> str | None:
    if delivery.endpoint.disabled_at:
        return "The webhook is switched off."
    if not all(delivery.endpoint.secrets):
        return "The webhook's secret can't be read: SECRET_KEY has changed. Rotate the secret."
    if delivery.attempts > len(RETRY_AFTER_S):
        return "Every attempt broke off."
    return None


def _due(on_the_way: Sequence[Turn]) -> list[Turn]:
    """Return the first few of each endpoint that are due, but for those that have their share on the way."""
    endpoints, workspaces = SHARES.full(on_the_way)
    place = func.row_number().over(partition_by=Delivery.endpoint_id, order_by=Delivery.next_at)
    due = (
        select(
            Delivery.id,
            Delivery.endpoint_id,
            Endpoint.workspace_id,
            Endpoint.failing_since.is_not(None).label("is_failing"),
            place.label("place"),
        )
        .join(Endpoint, Delivery.endpoint_id == Endpoint.id)
        .where(
            Delivery.next_at <= now(),
            Delivery.endpoint_id.not_in(endpoints),
            Endpoint.workspace_id.not_in(workspaces),
        )
        .subquery()
    )
    first = select(due).where(due.c.place <= SHARES.per_place).order_by(due.c.place, due.c.id).limit(CANDIDATES)
    return [Turn(*row[:4]) for row in db.session.execute(first)]


def _parcel(delivery: Delivery) -> _Parcel:
    """Sign for this attempt: the same id and bytes as ever, a new time, and a signature for each secret (F3, F5)."""
    msg_id, at = delivery.message_id, now()
    signatures = [Webhook(secret).sign(msg_id, at, delivery.body) for secret in delivery.endpoint.secrets]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": msg_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    endpoint = delivery.endpoint
    turn = Turn(delivery.id, endpoint.id, endpoint.workspace_id, is_suspect=endpoint.failing_since is not None)
    return _Parcel(turn, endpoint.url, headers, delivery.body.encode())


def _post(parcel: _Parcel) -> _Outcome:
    began = time.monotonic()

    def took_ms() -> int:
        return round((time.monotonic() - began) * 1000)

    try:
        answer = remote.post(parcel.url, parcel.body, parcel.headers, deadline_s=DEADLINE_S)
    except (remote.Refused, remote.Unreachable) as failure:
        return _Outcome(None, failure.message, took_ms())
    text = answer.body.decode("utf-8", "replace").replace("\x00", "\ufffd")[:KEPT_ANSWER]
    return _Outcome(answer.status, text, took_ms(), answer.retry_after_s)


def _note(outcomes: Sequence[tuple[_Parcel, _Outcome]]) -> None:
    """Write down what came of some attempts, in one change."""
    found = {parcel.turn.id: outcome for parcel, outcome in outcomes}
    with work():
        rows = select(Delivery).where(Delivery.id.in_(found), Delivery.state == PENDING)
        for delivery in db.session.scalars(held(rows.order_by(Delivery.id), Delivery)):
            outcome = found[delivery.id]
            delivery.status, delivery.answer, delivery.took_ms = outcome.status, outcome.answer, outcome.took_ms
            if outcome.arrived:
                delivery.state, delivery.next_at = DELIVERED, None
                delivery.endpoint.failing_since = None
            else:
                _note_failure(delivery, outcome)


def _note_failure(delivery: Delivery, outcome: _Outcome) -> None:
    endpoint = delivery.endpoint
    endpoint.failing_since = endpoint.failing_since or now()
    if outcome.status == 410:
        _switch_off(endpoint, "The receiver answered 410: it is gone for good.")
    elif now() - endpoint.failing_since > OFF_AFTER:
        _switch_off(endpoint, f"Nothing arrived for {OFF_AFTER.days} days.")
    if endpoint.disabled_at or delivery.attempts > len(RETRY_AFTER_S):
        _give_up(delivery)
    else:
        delivery.next_at = _next_at(delivery.attempts, outcome.retry_after_s)


def _next_at(attempts: int, retry_after_s: int | None) -> datetime:
    """When to try again: on the schedule with jitter, later where the receiver asks for it."""
    pause_s = RETRY_AFTER_S[max(attempts, 1) - 1] * random.uniform(1, 1 + JITTER)
    return now() + timedelta(seconds=max(pause_s, min(retry_after_s or 0, MAX_RETRY_AFTER_S)))


def _give_up(delivery: Delivery, why: str | None = None) -> None:
    delivery.state, delivery.next_at = FAILED, None
    delivery.answer = why or delivery.answer


def _switch_off(endpoint: Endpoint, reason: str) -> None:
    endpoint.disabled_at, endpoint.disabled_reason = endpoint.disabled_at or now(), reason
