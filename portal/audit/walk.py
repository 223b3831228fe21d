"""A walk through both buckets: compare every object with its row, then repair what was found, then announce it.

What a page found is committed together with the place where the next one begins, so that a walk that is killed at any
point goes on there. Repairs begin when both buckets were compared: only then is it known whether these are the right
buckets.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import func, insert, select

from portal import config, inventory, orphans
from portal.audit import pages, settling
from portal.audit.checks import Checked, Meter, Policy, check
from portal.audit.lease import Lease, finish
from portal.audit.models import ANNOUNCE, COMPARE, DONE, ORPHAN, REPAIR, AuditFinding, AuditWalk
from portal.audit.pages import Page, Row
from portal.audit.run import Run
from portal.config import in_this_app
from portal.db import db, now, release
from portal.infra.storage import Bucket
from portal.inventory import MISSING, ORIGINAL

THREADS = 8  # of the command; each holds one object
CHUNK = 50  # objects after which the time is looked at
MIN_LOST = 20  # originals: with fewer, or less than half of them, they may as well have been lost
WRONG_ORIGINALS = (
    "{lost} of {originals} originals are missing. Is {bucket} the right bucket? If it is restored from a backup, is "
    "that one older than the database? Nothing was repaired."
)
WRONG_OBJECTS = (
    "No row names {unknown} of {listed} objects in {bucket}. Is this its database? If it is restored from a backup, is "
    "that one older than the bucket? Nothing was repaired."
)


def advance(run: Run) -> bool:
    """Continue a walk until its end or the run's; return whether the walk has ended.

    Raises StorageFailed if a bucket is away, and Conflict if another process has taken over.
    """
    steps = {COMPARE: _compare, REPAIR: settling.repair, ANNOUNCE: settling.announce}
    is_over = False  # each run makes a step
    while True:
        walk = db.session.get_one(AuditWalk, run.lease.walk_id, populate_existing=True)
        run.on_progress(walk)
        if walk.phase == DONE or is_over:
            return walk.phase == DONE
        steps[walk.phase](run)
        run.pause()
        is_over = run.is_over


def _compare(run: Run) -> None:
    """Compare a page."""
    walk = db.session.get_one(AuditWalk, run.lease.walk_id)
    bucket = pages.bucket_of(walk.bucket)
    after, workspace_id = walk.key, run.lease.options.workspace_id
    release()  # no transaction stays open while the bucket is listed
    if workspace_id is None:
        page = pages.read(run.meter, bucket, after)
    else:
        page = pages.read_workspace(bucket, after, workspace_id)
    release()
    page, checked = _check_page(run, bucket, page)
    unknown = _unknown(run.meter, bucket, after, page)
    with run.step() as (walk, _):
        _record(walk, bucket, page, checked, unknown)
        _move_on(walk, bucket, page, run.lease.options.repairs)


def _check_page(run: Run, bucket: Bucket, page: Page) -> tuple[Page, list[Checked]]:
    """Check a page's objects; return the part for which there was time."""
    rows = [row for row in page.rows if not row.facts.replaced_by]  # nobody needs the replaced ones
    checked: list[Checked] = []

    def one(row: Row) -> Checked:
        listed = page.listed.get(row.facts.key) if page.listed is not None else None
        return check(run.meter, bucket, row.facts, listed, _policy(run.lease, row))

    with ThreadPoolExecutor(1 if run.lease.is_scheduled else THREADS) as pool:
        for n in range(0, len(rows), CHUNK):
            checked += pool.map(in_this_app(one), rows[n : n + CHUNK])
            run.renew_in_time()
            run.pause()
            if run.is_over and len(checked) < len(rows):
                return page.cut(checked[-1].expected.key), checked
    return page, checked


def _policy(lease: Lease, row: Row) -> Policy:
    """Decide whether an object is read: by a hash of its key, so that a walk that is resumed decides the same."""
    if not lease.is_scheduled:
        return Policy(_share(f"{lease.walk_id} {row.facts.key}", 100_000) < lease.options.sample * 1000)
    days = config.settings().audit_days
    is_due = row.unverified_since < now() - timedelta(days=days)  # its day was missed
    return Policy(is_due or _share(row.facts.key, days) == now().toordinal() % days, reads_unknown=False)


def _share(text: str, parts: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % max(1, parts)


def _unknown(meter: Meter, bucket: Bucket, after: str, page: Page) -> list[str]:
    """Return the keys of listed objects that no row names, unless one may still come or they are gone already."""
    if not page.listed:
        return []
    without_row = page.listed.keys() - {row.facts.key for row in page.rows}
    old = sorted(key for key in without_row if page.listed[key].modified_at < now() - orphans.GRACE)
    batches = (old[n : n + orphans.BATCH] for n in range(0, len(old), orphans.BATCH))
    unknown = {key for batch in batches for key in orphans.unknown_among(bucket, batch)}
    release()
    if not unknown:
        return []
    still_listed = {each.key for each in meter.list(bucket, after, pages.PAGE).objects}
    return sorted(unknown & still_listed)


def _record(walk: AuditWalk, bucket: Bucket, page: Page, checked: Sequence[Checked], unknown: Sequence[str]) -> None:
    """Record what a page was like: findings, what was learnt about its objects, and the counts."""
    before = {row.facts.key: row.facts for row in page.rows}
    damaged = {each.expected.key: each for each in checked if each.damage}
    current = inventory.facts(bucket, damaged)
    standing = {
        key: each
        for key, each in damaged.items()
        if key in current and not current[key].replaced_by and current[key].sha256 == before[key].sha256
    }
    uuids = pages.image_uuids(bucket, [each.expected for each in standing.values()])
    found = [
        {
            "kind": each.damage,
            "object": each.expected.kind,
            "key": key,
            "image_uuid": uuids.get(key),
            "reason": each.reason,
        }
        for key, each in standing.items()
    ]
    found += [
        {"kind": ORPHAN, "object": pages.kind_by_key(bucket, key), "key": key, "image_uuid": None, "reason": ""}
        for key in unknown
    ]
    if found:
        common = {"walk_id": walk.id, "bucket": bucket.role}
        db.session.execute(insert(AuditFinding), [common | each for each in found])
    learnt = [each.learnt for each in checked if each.learnt]
    adopted = [each for each in learnt if before[each.key].sha256 is None]
    inventory.confirm(bucket, learnt)
    old = now() - orphans.GRACE
    walk.checked += len(page.rows)
    walk.originals += sum(row.facts.kind == ORIGINAL for row in page.rows)
    walk.verified += len(learnt)
    walk.adopted += len(adopted)
    walk.listed += sum(each.modified_at < old for each in (page.listed or {}).values())


def _move_on(walk: AuditWalk, bucket: Bucket, page: Page, repairs: bool) -> None:
    """Set where the next page begins; at the end of a bucket, judge whether it is the right one."""
    if page.until is not None:
        walk.key = page.until
        return
    walk.message = walk.message or _suspicion(walk, bucket)
    if bucket.role == "uploads":
        walk.bucket, walk.key, walk.listed = "cdn", "", 0
    elif walk.message or not repairs:
        finish(walk)
    else:
        walk.phase = REPAIR


def _suspicion(walk: AuditWalk, bucket: Bucket) -> str | None:
    """Return why this may be the wrong bucket or the wrong database, or None."""
    here = select(func.count()).where(AuditFinding.walk_id == walk.id, AuditFinding.bucket == bucket.role)
    lost = here.where(AuditFinding.object == ORIGINAL, AuditFinding.kind == MISSING)
    count = db.session.scalar(lost) or 0
    if bucket.role == "uploads" and count >= MIN_LOST and count * 2 >= walk.originals:
        return WRONG_ORIGINALS.format(lost=count, originals=walk.originals, bucket=bucket.name)
    unknown = db.session.scalar(here.where(AuditFinding.kind == ORPHAN)) or 0
    if orphans.are_too_many(unknown, walk.listed):
        return WRONG_OBJECTS.format(unknown=unknown, listed=walk.listed, bucket=bucket.name)
    return None
