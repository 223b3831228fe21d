"""The nightly audit, in short parts of a job in the network queue."""

import logging
import time
from datetime import timedelta

from sqlalchemy import select

from portal import config
from portal.audit import report, walk
from portal.audit.lease import Options, leased
from portal.audit.models import AuditWalk
from portal.audit.run import Run
from portal.db import db, now, release
from portal.errors import Conflict
from portal.infra import jobs
from portal.installation import owns_buckets
from portal.work import best_effort

RUN_FOR_S = 50  # imports wait in the same queue
EVERY = timedelta(hours=20)  # less than a day, so that a night's late walk does not skip the next one
OPTIONS = Options(repairs=True, sample=0)  # which bytes are compared depends on AUDIT_DAYS

log = logging.getLogger(__name__)


def run() -> None:
    """Continue the nightly walk, or start it if it is due; enqueue the job again for the rest."""
    if not _is_due() or not owns_buckets():
        return
    try:
        with leased(OPTIONS, is_scheduled=True) as lease:
            has_ended = walk.advance(Run(lease, time.monotonic() + RUN_FOR_S))
    except Conflict as other:  # the command's walk is running
        log.info("audit waits: reason=%s", other.message)
        return
    if has_ended:
        _log(lease.walk_id)
    else:
        best_effort(jobs.enqueue, jobs.audit())


def _is_due() -> bool:
    """Return whether a walk is unfinished, or the last one began long ago; never if AUDIT_DAYS is 0."""
    last = db.session.scalar(select(AuditWalk).where(AuditWalk.is_scheduled).order_by(AuditWalk.id.desc()).limit(1))
    is_due = last is None or last.finished_at is None or last.started_at < now() - EVERY
    release()
    return is_due and config.settings().audit_days > 0


def _log(walk_id: int) -> None:
    done = db.session.get_one(AuditWalk, walk_id, populate_existing=True)
    if done.message:
        log.error("audit repaired nothing: %s", done.message)
    log.info("audit done: checked=%d verified=%d left=%d", done.checked, done.verified, report.left(done))
    release()
