"""Which process runs which walk: one at a time, under a lease that a killed process leaves behind."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from portal.audit.models import DONE, AuditWalk
from portal.db import db, now
from portal.errors import Conflict
from portal.installation import ROW_ID, Installation
from portal.work import lock, work

LEASE = timedelta(minutes=3)  # longer than the slowest repair
RESUMED_WITHIN = timedelta(days=1)  # an older walk that did not end is not worth resuming
WALKS_KEPT = timedelta(days=90)
RUNNING = "Another audit is running."
TAKEN_OVER = "Another process has taken over this audit."


@dataclass(frozen=True)
class Options:
    """What an audit does."""

    repairs: bool = False
    from_large: bool = False  # originals may become copies of their large variants
    sample: float = 100  # percent of the objects whose bytes are compared
    workspace_id: int | None = None  # None: all workspaces, and the objects that belong to none


@dataclass
class Lease:
    """A walk that this process runs."""

    walk_id: int
    options: Options
    is_scheduled: bool
    runner: str

    def renew(self) -> AuditWalk:
        """Lock the walk's row and extend the lease, inside a change. Raises Conflict if another process has it."""
        walk = db.session.get_one(AuditWalk, self.walk_id)
        if not lock(walk) or walk.runner != self.runner:
            raise Conflict(TAKEN_OVER, code="audit_taken_over")
        walk.running_until = now() + LEASE
        return walk


@contextmanager
def leased(options: Options, *, is_scheduled: bool = False) -> Iterator[Lease]:
    """Resume the walk with these options that did not end, or start one; no other runs until the block ends.

    Raises Conflict if another process runs a walk; its details tell whether that one is scheduled.
    """
    lease = _take(options, is_scheduled)
    try:
        yield lease
    finally:
        with suppress(SQLAlchemyError, Conflict):  # then the lease ends by itself
            db.session.rollback()
            with work():
                walk = lease.renew()
                walk.runner, walk.running_until = None, now()


def finish(walk: AuditWalk, message: str | None = None) -> None:
    """End a walk, inside a change."""
    walk.phase, walk.finished_at = DONE, now()
    walk.message = walk.message or message


def _take(options: Options, is_scheduled: bool) -> Lease:
    runner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4()}"
    with work():
        lock(db.session.get_one(Installation, ROW_ID))  # so that of two processes the second sees the first one's lease
        running = select(AuditWalk).where(AuditWalk.runner.is_not(None), AuditWalk.running_until > now())
        for other in db.session.scalars(running):
            if not _is_dead(other.runner or ""):
                raise Conflict(RUNNING, code="audit_running", details={"is_scheduled": other.is_scheduled})
        walk = _resumable(options, is_scheduled)
        if walk is None:
            db.session.execute(delete(AuditWalk).where(AuditWalk.finished_at < now() - WALKS_KEPT))
            walk = AuditWalk(options=asdict(options), is_scheduled=is_scheduled)
            db.session.add(walk)
        walk.runner, walk.running_until = runner, now() + LEASE
        db.session.flush()
        return Lease(walk.id, options, is_scheduled, runner)


def _resumable(options: Options, is_scheduled: bool) -> AuditWalk | None:
    """Return the walk to resume; end the other ones that did not end."""
    unfinished = select(AuditWalk).where(AuditWalk.finished_at.is_(None), AuditWalk.is_scheduled == is_scheduled)
    found = None
    for walk in db.session.scalars(unfinished.order_by(AuditWalk.id.desc())):
        is_recent = walk.running_until is not None and walk.running_until > now() - RESUMED_WITHIN
        if found is None and is_recent and walk.options == asdict(options):
            found = walk
        else:
            finish(walk, "It was interrupted, and another one was started.")
    return found


def _is_dead(runner: str) -> bool:
    """Return whether a process is known to be gone: it was killed on this machine."""
    host, _, rest = runner.partition(" ")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(rest.partition(" ")[0]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
