"""Deliveries: signed, sent concurrently, recorded, and retried for more than a day (Standard Webhooks)."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import selectinload
from standardwebhooks import Webhook

from portal import dispatch, remote
from portal.db import db, now, release
from portal.dispatch import Candidate
from portal.errors import Conflict, NotFound
from portal.infra import jobs
from portal.infra.encrypted import RETRY_UNREADABLE_AFTER, UNREADABLE
from portal.webhooks import selection
from portal.webhooks.models import DELIVERED, FAILED, PENDING, Delivery, Endpoint
from portal.work import for_update, lock, work

RETRY_DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)  # Standard Webhooks, "Retries"
JITTER = 0.1
MAX_RETRY_AFTER_S = 24 * 3600  # upper limit of a receiver's Retry-After
DEADLINE_S = 15
LEASE = timedelta(seconds=60)  # after it, a delivery whose worker died is due again
MAX_ANSWER_LENGTH = 2_000  # characters of a response, for the page
RETENTION = timedelta(days=30)  # of finished deliveries, and of those that wait for a key
DISABLE_AFTER = timedelta(days=5)  # without a successful delivery


@dataclass(frozen=True)
class _SendTask:
    """A delivery to send, as plain values: threads sign and send it without database access."""

    candidate: Candidate
    url: str
    message_id: str
    body: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class _Outcome:
    """The result of an attempt. `status` is None if there was no response."""

    status: int | None
    answer: str
    took_ms: int
    retry_after_s: int | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


INTERNAL_ERROR = _Outcome(None, "Something went wrong on our side.", 0)
ENDPOINTS = selectinload(Delivery.endpoint)  # loads each endpoint once
SECRETS = ENDPOINTS.undefer(Endpoint.secret).undefer(Endpoint.old_secret)


def run() -> int:
    """Send due deliveries concurrently until none is left; return the number of attempts."""
    return dispatch.run(
        _claim,
        _post,
        _record,
        limits=selection.LIMITS,
        if_perform_raises=INTERNAL_ERROR,
        successor=jobs.deliver_webhooks(),
        group_by=lambda _: "all",
    )


def send_again(delivery: Delivery) -> None:
    """Send a delivery once more, from the start of the retry schedule, whatever its state.

    Raises NotFound, and Conflict if its webhook is switched off.
    """
    with work() as w:
        if not lock(delivery):
            raise NotFound("There is no such delivery.", code="delivery_not_found")
        if db.session.get_one(Endpoint, delivery.endpoint_id).disabled_at:
            raise Conflict("This webhook is switched off. Switch it on first.", code="webhook_off")
        if not (delivery.state == PENDING and delivery.attempts == 0):
            _reset(delivery)
            w.enqueue(jobs.deliver_webhooks())


def send_all_again(delivery_ids: Sequence[int]) -> int:
    """Send failed deliveries once more, except to webhooks that are switched off; return their number."""
    failed = select(Delivery).where(Delivery.id.in_(delivery_ids), Delivery.state == FAILED)
    with work() as w:
        rows = db.session.scalars(for_update(failed.order_by(Delivery.id).options(ENDPOINTS), Delivery))
        deliveries = [delivery for delivery in rows if not delivery.endpoint.disabled_at]
        for delivery in deliveries:
            _reset(delivery)
        if deliveries:
            w.enqueue(jobs.deliver_webhooks())
    return len(deliveries)


def enqueue_missing() -> int:
    """Enqueue the job if deliveries are due and it is neither queued nor running; return how many are due."""
    return dispatch.enqueue_missing(Delivery.next_at, jobs.deliver_webhooks())


def _reset(delivery: Delivery) -> None:
    delivery.state, delivery.attempts, delivery.next_at = PENDING, 0, now()


def delete_expired() -> int:
    """Delete finished deliveries older than RETENTION; return their number."""
    old = delete(Delivery).where(Delivery.next_at.is_(None), Delivery.created_at < now() - RETENTION)
    with work():
        return cast(CursorResult[Any], db.session.execute(old)).rowcount


def _claim(limit: int) -> list[_SendTask]:
    """Lease due deliveries, a few per endpoint; attempts are incremented before they are made, so crashes count too."""
    before: list[int] = []
    while (ids := selection.pick(limit, now())) and ids != before:
        if tasks := _lease(ids):  # none if all were given up, or another worker was first
            return tasks
        before = ids
    release()
    return []


def _lease(ids: Sequence[int]) -> list[_SendTask]:
    with work():
        rows = select(Delivery).where(Delivery.id.in_(ids), Delivery.next_at <= now())
        tasks = []
        for delivery in db.session.scalars(for_update(rows.options(SECRETS), Delivery, skip_locked=True)):
            if reason := _undeliverable_reason(delivery):
                _give_up(delivery, reason)
                continue
            if not all(delivery.endpoint.secrets):
                delivery.answer = UNREADABLE.format("the webhook's secret")
                delivery.next_at = now() + RETRY_UNREADABLE_AFTER
                continue
            delivery.attempts += 1
            delivery.last_at, delivery.next_at = now(), now() + LEASE
            delivery.sending_until = delivery.next_at
            tasks.append(_task(delivery))
    return tasks


def _undeliverable_reason(delivery: Delivery) -> str | None:
    if delivery.endpoint.disabled_at:
        return "The webhook is switched off."
    if delivery.attempts > len(RETRY_DELAYS_S):
        return "Every attempt was interrupted."
    if not all(delivery.endpoint.secrets) and delivery.created_at < now() - RETENTION:
        return f"The webhook's secret could not be read for {RETENTION.days} days."
    return None


def _task(delivery: Delivery) -> _SendTask:
    endpoint = delivery.endpoint
    candidate = Candidate(delivery.id, endpoint.id, endpoint.workspace_id, endpoint.failing_since is not None)
    return _SendTask(candidate, endpoint.url, delivery.message_id, delivery.body, tuple(endpoint.secrets))


def _signed(task: _SendTask) -> dict[str, str]:
    """Return signed headers for this attempt: id and body are always the same; there is a signature per secret."""
    at = now()
    signatures = [Webhook(secret).sign(task.message_id, at, task.body) for secret in task.secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": task.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _post(task: _SendTask) -> _Outcome:
    began = time.monotonic()

    def took_ms() -> int:
        return round((time.monotonic() - began) * 1000)

    try:
        answer = remote.post(task.url, task.body.encode(), _signed(task), deadline_s=DEADLINE_S)
    except (remote.RequestRefused, remote.Unreachable) as failure:
        return _Outcome(None, failure.message, took_ms())
    text = answer.body.decode("utf-8", "replace").replace("\x00", "\ufffd")[:MAX_ANSWER_LENGTH]
    return _Outcome(answer.status, text, took_ms(), answer.retry_after_s)


def _record(results: dispatch.Results[_SendTask, _Outcome]) -> None:
    """Record the outcomes of some attempts, in one transaction."""
    outcomes = {task.candidate.id: outcome for task, outcome in results}
    with work():
        rows = select(Delivery).where(Delivery.id.in_(outcomes), Delivery.state == PENDING).order_by(Delivery.id)
        for delivery in db.session.scalars(for_update(rows.options(ENDPOINTS), Delivery)):
            outcome = outcomes[delivery.id]
            delivery.status, delivery.answer, delivery.took_ms = outcome.status, outcome.answer, outcome.took_ms
            delivery.sending_until = None
            if outcome.succeeded:
                delivery.state, delivery.next_at = DELIVERED, None
                delivery.endpoint.failing_since = None
            else:
                _record_failure(delivery, outcome)


def _record_failure(delivery: Delivery, outcome: _Outcome) -> None:
    endpoint = delivery.endpoint
    endpoint.failing_since = endpoint.failing_since or now()
    if outcome.status == 410:
        _disable(endpoint, "The receiver answered 410 (Gone).")
    elif now() - endpoint.failing_since > DISABLE_AFTER:
        _disable(endpoint, f"All deliveries failed for {DISABLE_AFTER.days} days.")
    if endpoint.disabled_at or delivery.attempts > len(RETRY_DELAYS_S):
        _give_up(delivery)
    else:
        delivery.next_at = _next_at(delivery.attempts, outcome.retry_after_s)


def _next_at(attempts: int, retry_after_s: int | None) -> datetime:
    """Return the time of the next attempt: on the schedule with jitter, or later if the receiver asks for it."""
    pause_s = RETRY_DELAYS_S[max(attempts, 1) - 1] * random.uniform(1, 1 + JITTER)
    return now() + timedelta(seconds=max(pause_s, min(retry_after_s or 0, MAX_RETRY_AFTER_S)))


def _give_up(delivery: Delivery, reason: str | None = None) -> None:
    delivery.state, delivery.next_at, delivery.sending_until = FAILED, None, None
    delivery.answer = reason or delivery.answer


def _disable(endpoint: Endpoint, reason: str) -> None:
    endpoint.disabled_at, endpoint.disabled_reason = endpoint.disabled_at or now(), reason
