"""Repair what a walk has found, and announce it.

A repair is committed before its finding says so. After a crash between the two, the object is found right, and the
finding says what had been planned.
"""

import logging
import time
from itertools import count
from typing import NamedTuple

from sqlalchemy import and_, case, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from portal import inventory
from portal.audit import repair as repairs
from portal.audit.checks import Policy, check
from portal.audit.lease import finish
from portal.audit.models import ANNOUNCE, ORPHAN, AuditFinding
from portal.audit.pages import bucket_of
from portal.audit.repair import FROM_LARGE, FROM_ORIGINAL, FROM_PMS, Outcome
from portal.audit.run import Run
from portal.db import db, now, release
from portal.errors import Conflict, StorageFailed, TooMany
from portal.images import gallery
from portal.images.models import Image, Property
from portal.infra.storage import Bucket
from portal.inventory import COPY, KINDS, LARGE, ORIGINAL, THUMB, TYPE, Facts

BATCH = 50
DOWNLOAD_FOR_S = 90  # then the rest of a batch is left to a worker; less than the lease
BUSY_TRIES = 20
DOWNLOAD = Outcome(reason="To be downloaded with others.")

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A finding as plain values."""

    id: int
    kind: str
    object: str
    bucket: str
    key: str
    image_id: int | None


def repair(run: Run) -> None:
    """Repair some findings that have not been tried yet: originals before what is derived from them."""
    order = case({kind: n for n, kind in enumerate(KINDS)}, value=AuditFinding.object)
    waiting = (
        select(AuditFinding.id, AuditFinding.kind, AuditFinding.object, AuditFinding.bucket, AuditFinding.key, Image.id)
        .join(Image, Image.uuid == AuditFinding.image_uuid, isouter=True)
        .where(AuditFinding.walk_id == run.lease.walk_id, AuditFinding.kind != ORPHAN)
        .where(AuditFinding.attempted_at.is_(None))
        .order_by(order, AuditFinding.id)
        .limit(BATCH)
    )
    found = [Found(*row) for row in db.session.execute(waiting)]
    release()
    downloads = []
    for each in found:
        outcome = _attempt(run, each)
        if outcome == DOWNLOAD:
            downloads.append(each)
            continue
        with run.step():
            _record(each, outcome)
        if run.is_over:
            return
    if downloads:
        outcomes = repairs.download_copies([each.key for each in downloads], DOWNLOAD_FOR_S)
        with run.step():
            for each in downloads:
                _record(each, outcomes[each.key])
    if not found:
        with run.step() as (walk, _):
            walk.phase = ANNOUNCE


def announce(run: Run) -> None:
    """Emit property.updated for some properties that show something new: once for each.

    Also for repairs of a walk that was interrupted and not resumed.
    """
    is_waiting = and_(AuditFinding.property_id.is_not(None), AuditFinding.announced_at.is_(None))
    waiting = select(AuditFinding.property_id).where(is_waiting).distinct().limit(BATCH)
    ids = list(db.session.scalars(waiting))
    for id in ids:
        with run.step() as (_, w):
            home = db.session.get(Property, id)
            if home:
                gallery.emit_updated(w, home)
            of_home = update(AuditFinding).where(is_waiting, AuditFinding.property_id == id)
            db.session.execute(of_home.values(announced_at=now()).execution_options(synchronize_session=False))
    if not ids:
        with run.step() as (walk, _):
            finish(walk)


def _attempt(run: Run, found: Found) -> Outcome | None:
    """Repair what was found, or return DOWNLOAD; return None if the object is no longer needed."""
    bucket, planned = bucket_of(found.bucket), _planned(run, found)
    facts = inventory.find(bucket, found.key)
    image = db.session.get(Image, found.image_id) if found.image_id else None
    done = Outcome(planned, is_repaired=True, property_id=image.property_id if image else None)
    if facts is None:
        return done if found.object == ORIGINAL and image and image.original_restored_at else None
    if facts.replaced_by:
        return done._replace(property_id=done.property_id if found.object in (LARGE, THUMB) else None)
    release()
    try:
        checked = check(run.meter, bucket, facts, None, Policy())
        if checked.damage is None:
            if checked.learnt is None:  # the machine is too busy to decode it
                return Outcome(reason=repairs.BUSY)
            with run.step():
                inventory.confirm(bucket, [checked.learnt])
            return Outcome(planned, is_repaired=True)
        if found.object == COPY and checked.damage != TYPE and not run.lease.is_scheduled:
            return DOWNLOAD
        return _repair(run, bucket, checked.expected, checked.damage)
    except StorageFailed as error:
        if bucket.is_away(error):
            raise
        return Outcome(reason=f"{error.message} ({error.details})")
    except (SQLAlchemyError, Conflict):
        raise
    except Exception:
        db.session.rollback()
        log.exception("repair failed: bucket=%s key=%s", bucket.name, found.key)
        return Outcome(reason="The repair failed; the log has the reason.")


def _repair(run: Run, bucket: Bucket, facts: Facts, damage: str) -> Outcome:
    """Repair an object, waiting for a rendering slot if necessary."""
    for n in count(1):
        try:
            return repairs.repair(bucket, facts, damage, from_large=run.lease.options.from_large, announces=False)
        except TooMany as busy:
            if n == BUSY_TRIES:
                return Outcome(reason=busy.message)
            run.renew_in_time()
            time.sleep(busy.retry_after_s)
    raise AssertionError


def _planned(run: Run, found: Found) -> str | None:
    """Return how an object is repaired that turns out right: by a process that was killed before it could say so."""
    if found.kind == TYPE:
        return None
    if found.object == ORIGINAL:
        return FROM_LARGE if run.lease.options.from_large else None
    return FROM_PMS if found.object == COPY else FROM_ORIGINAL


def _record(found: Found, outcome: Outcome | None) -> None:
    this = AuditFinding.id == found.id
    if outcome is None:
        db.session.execute(delete(AuditFinding).where(this).execution_options(synchronize_session=False))
        return
    values = {
        "attempted_at": now(),
        "repaired": outcome.is_repaired,
        "how": outcome.how,
        "reason": outcome.reason[:300],
        "property_id": outcome.property_id,
    }
    db.session.execute(update(AuditFinding).where(this).values(values).execution_options(synchronize_session=False))
