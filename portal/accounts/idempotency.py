"""Idempotency keys: a repeated write runs once, and its answer is replayed.

A key belongs to a workspace and keeps status, headers and body for 24 hours. The same key with another method, path or
body is refused, and so is a repeat while the first request is running: tests/contracts/README.md, "Idempotency keys".
"""

import math
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import IdempotencyRecord, Workspace
from portal.db import db, now
from portal.errors import Conflict, Invalid
from portal.work import lock, work

RETENTION = timedelta(hours=24)
LEASE = timedelta(seconds=60)  # after it, the claim of a process that died is free again
PROBABLY_DEAD_AFTER = timedelta(seconds=5)  # few requests take longer than that
MAX_KEY_LENGTH = 255
REUSED = "idempotency_key_reused"  # error code of a key that was used for another request


class Answer(NamedTuple):
    """A stored answer, to be replayed."""

    status: int
    body: str
    location: str | None
    at: datetime


class Claim(NamedTuple):
    """The right to run a request, until another run takes it over."""

    record_id: int
    token: UUID


def claim(workspace: Workspace, key: str, fingerprint: str, lease: timedelta = LEASE) -> Claim | Answer:
    """Claim a key for one run, or return the answer of the earlier run.

    Raises Invalid if the key was used for another request, Conflict while the first one is running.
    """
    query = select(IdempotencyRecord).where(
        IdempotencyRecord.workspace_id == workspace.id, IdempotencyRecord.key == key
    )
    record = db.session.scalar(query)
    if record and (answer := _answer(record, fingerprint)):  # the usual repeat needs no lock and no write
        return answer
    new = IdempotencyRecord(
        workspace_id=workspace.id,
        key=key,
        fingerprint=fingerprint,
        claim=uuid4(),
        claimed_at=now(),
        lease_s=int(lease.total_seconds()),
    )
    try:
        return _take_over(record, new) if record else _insert(new)
    except IntegrityError:
        raise _running() from None  # another request inserted it after our query


def store_answer(claim: Claim, answer: Answer) -> None:
    """Store the answer; `work.before_last_commit` makes this part of the transaction of the effect itself.

    Raises Conflict if the lease has expired and another run has taken over, so that this run's effect is rolled back.
    """
    changed = db.session.execute(
        update(IdempotencyRecord)
        .where(IdempotencyRecord.id == claim.record_id, IdempotencyRecord.claim == claim.token)
        .values(status=answer.status, body=answer.body, location=answer.location, answered_at=answer.at)
    )
    if not isinstance(changed, CursorResult) or changed.rowcount != 1:
        raise _running()


def release(claim: Claim) -> None:
    """Free a key whose run had no effect. A stored answer stays."""
    with work():
        db.session.execute(
            delete(IdempotencyRecord).where(
                IdempotencyRecord.id == claim.record_id,
                IdempotencyRecord.claim == claim.token,
                IdempotencyRecord.status.is_(None),
            )
        )


def delete_expired() -> int:
    """Delete expired records; return their number."""
    with work():
        gone = db.session.execute(
            delete(IdempotencyRecord).where(IdempotencyRecord.claimed_at < now() - RETENTION - LEASE)
        )
    return gone.rowcount if isinstance(gone, CursorResult) else 0


def _insert(new: IdempotencyRecord) -> Claim:
    with work():
        db.session.add(new)
        db.session.flush()
        return Claim(new.id, new.claim)


def _take_over(record: IdempotencyRecord, new: IdempotencyRecord) -> Claim | Answer:
    """Claim a key whose run died or whose answer has expired, after checking again under the lock."""
    with work():
        if not lock(record):
            raise _running()  # just released: the client's next attempt finds it free
        if answer := _answer(record, new.fingerprint):
            return answer
        record.fingerprint, record.claim = new.fingerprint, new.claim
        record.claimed_at, record.lease_s = new.claimed_at, new.lease_s
        record.status = record.body = record.location = record.answered_at = None
        return Claim(record.id, record.claim)


def _answer(record: IdempotencyRecord, fingerprint: str) -> Answer | None:
    """Return the stored answer, or None if the key is free again. Raises Invalid and Conflict as `claim`."""
    at, answer = now(), None
    if record.status is None or record.answered_at is None:
        if record.claimed_at <= at - timedelta(seconds=record.lease_s):
            return None
    else:
        if record.answered_at <= at - RETENTION or record.body is None:
            return None  # expired, or encrypted with another SECRET_KEY
        answer = Answer(record.status, record.body or "", record.location, record.answered_at)
    if record.fingerprint != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used for another request, with a different method, path or body.",
            code=REUSED,
        )
    if answer is None:
        raise _running(_retry_after_s(record, at))
    return answer


def _retry_after_s(record: IdempotencyRecord, at: datetime) -> int:
    """Return 1 while the first request may still be running, then the seconds that are left of its lease."""
    age = at - record.claimed_at
    return 1 if age < PROBABLY_DEAD_AFTER else math.ceil(record.lease_s - age.total_seconds())


def _running(retry_after_s: int = 1) -> Conflict:
    message = "The first request with this Idempotency-Key is still running."
    return Conflict(message, code="idempotency_in_flight", retry_after_s=retry_after_s)
