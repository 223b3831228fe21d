"""Idempotency keys: a write asked for twice happens once and is answered twice (contract.md, B6)."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import IdempotencyRecord, Workspace
from portal.db import db, now
from portal.errors import Conflict, Invalid
from portal.work import lock, work

KEPT = timedelta(hours=24)  # contract.md, B6
LEASE = timedelta(seconds=60)  # reliability.md, G7: a claim whose process died is free again after this
MAX_KEY_LENGTH = 255
REUSED = "idempotency_key_reused"  # the code of a key that stands for another request


class Answer(NamedTuple):
    """What was answered, as it will be answered again."""

    status: int
    body: str
    location: str | None
    at: datetime


class Claim(NamedTuple):
    """The right to run a request, as long as nobody has taken it over."""

    record_id: int
    token: UUID


def claim(workspace: Workspace, key: str, fingerprint: str, lease: timedelta = LEASE) -> Claim | Answer:
    """Claim a key for one run, or return the answer of the run that was.

    Raises Invalid where the key stands for another request, Conflict while the first one still runs.
    """
    wanted = select(IdempotencyRecord).where(
        IdempotencyRecord.workspace_id == workspace.id, IdempotencyRecord.key == key
    )
    record = db.session.scalar(wanted)
    if record and (answer := _answer(record, fingerprint)):  # the usual repeat: nothing to lock, nothing to write
        return answer
    mine = IdempotencyRecord(
        workspace_id=workspace.id,
        key=key,
        fingerprint=fingerprint,
        claim=uuid4(),
        claimed_at=now(),
        lease_s=int(lease.total_seconds()),
    )
    try:
        return _taken_over(record, mine) if record else _begun(mine)
    except IntegrityError:
        raise _running() from None  # somebody claimed it between our look and our row


def keep(claim: Claim, answer: Answer) -> None:
    """Store the answer; `work.riding` puts this into the commit of the effect itself (G12).

    Raises Conflict where the lease ended and another run took over: then this one's effect must not be.
    """
    changed = db.session.execute(
        update(IdempotencyRecord)
        .where(IdempotencyRecord.id == claim.record_id, IdempotencyRecord.claim == claim.token)
        .values(status=answer.status, body=answer.body, location=answer.location, answered_at=answer.at)
    )
    if not isinstance(changed, CursorResult) or changed.rowcount != 1:
        raise _running()


def release(claim: Claim) -> None:
    """Free a key whose run had no effect; an answer that was kept after all stays."""
    with work():
        db.session.execute(
            delete(IdempotencyRecord).where(
                IdempotencyRecord.id == claim.record_id,
                IdempotencyRecord.claim == claim.token,
                IdempotencyRecord.status.is_(None),
            )
        )


def forget() -> int:
    """Delete what nobody can ask for again; return how many. The sweep keeps the table small so."""
    with work():
        gone = db.session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.claimed_at < now() - KEPT - LEASE))
    return gone.rowcount if isinstance(gone, CursorResult) else 0


def _begun(mine: IdempotencyRecord) -> Claim:
    with work():
        db.session.add(mine)
        db.session.flush()
        return Claim(mine.id, mine.claim)


def _taken_over(record: IdempotencyRecord, mine: IdempotencyRecord) -> Claim | Answer:
    """Use a key again whose run died, or whose answer is no longer kept; look under the lock first."""
    with work():
        if not lock(record):
            raise _running()  # just released: the client's next try finds it free
        if answer := _answer(record, mine.fingerprint):
            return answer
        record.fingerprint, record.claim = mine.fingerprint, mine.claim
        record.claimed_at, record.lease_s = mine.claimed_at, mine.lease_s
        record.status = record.body = record.location = record.answered_at = None
        return Claim(record.id, record.claim)


def _answer(record: IdempotencyRecord, fingerprint: str) -> Answer | None:
    """The answer that is kept; None where the key is free again. Raises what keeps it from being used."""
    if record.status is None or record.answered_at is None:
        if record.claimed_at <= now() - timedelta(seconds=record.lease_s):
            return None
        answer = None
    else:
        if record.answered_at <= now() - KEPT or record.body is None:
            return None  # forgotten; or sealed with another SECRET_KEY, and not to be read any more
        answer = Answer(record.status, record.body or "", record.location, record.answered_at)
    if record.fingerprint != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used for another request: another method, path or body, byte for byte.",
            code=REUSED,
        )
    if answer is None:
        raise _running()
    return answer


def _running() -> Conflict:
    return Conflict("The first request with this Idempotency-Key is still running.", code="idempotency_in_flight")
