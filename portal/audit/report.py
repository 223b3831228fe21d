"""What a walk found, as JSON and as text."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from portal.audit.models import AuditFinding, AuditWalk
from portal.audit.pages import bucket_of
from portal.audit.repair import FROM_LARGE
from portal.db import db

BATCH = 1000
LEFT = or_(~AuditFinding.repaired, and_(AuditFinding.how.is_not(None), AuditFinding.how == FROM_LARGE))
"""Findings that need somebody: also an original that is only a copy of its large variant now."""


def left(walk: AuditWalk) -> int:
    return db.session.scalar(select(func.count()).where(AuditFinding.walk_id == walk.id, LEFT)) or 0


def findings(walk: AuditWalk) -> Iterator[AuditFinding]:
    """Yield a walk's findings as they were found, with only some of them in memory."""
    last = 0
    while found := list(db.session.scalars(_batch(walk.id, last))):
        yield from found
        last = found[-1].id
        db.session.expunge_all()


def as_json(walk: AuditWalk) -> Iterator[str]:
    """Yield the parts of one JSON object."""
    start = json.dumps({"checked": walk.checked})
    end = f'], "left": {left(walk)}}}'
    yield start[:-1] + ', "findings": ['
    for n, finding in enumerate(findings(walk)):
        yield (", " if n else "") + json.dumps(_plain(finding))
    yield end


def as_text(walk: AuditWalk) -> Iterator[str]:
    """Yield lines for a person."""
    summary = _summary(walk)
    for finding in findings(walk):
        where = f"{finding.kind} {finding.object}: {bucket_of(finding.bucket).name}/{finding.key}"
        repaired = f"repaired ({finding.how})" if finding.how else "repaired"
        yield f"{where}: {repaired if finding.repaired else finding.reason or 'not repaired'}"
    yield summary


def _summary(walk: AuditWalk) -> str:
    count = select(func.count()).where(AuditFinding.walk_id == walk.id)
    found = db.session.scalar(count) or 0
    repaired = db.session.scalar(count.where(AuditFinding.repaired)) or 0
    adopted = f", {walk.adopted:,} of them for the first time" if walk.adopted else ""
    return (
        f"Checked {walk.checked:,} objects, and the bytes of {walk.verified:,}{adopted}. "
        f"Found {found:,}, repaired {repaired:,}, left {left(walk):,}."
    )


def _plain(finding: AuditFinding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "object": finding.object,
        "bucket": bucket_of(finding.bucket).name,
        "key": finding.key,
        "imageId": str(finding.image_uuid) if finding.image_uuid else None,
        "repaired": finding.repaired,
        "how": finding.how,
        "reason": finding.reason or None,
    }


def _batch(walk_id: int, after_id: int) -> Select[AuditFinding]:
    found = select(AuditFinding).where(AuditFinding.walk_id == walk_id, AuditFinding.id > after_id)
    return found.order_by(AuditFinding.id).limit(BATCH)
