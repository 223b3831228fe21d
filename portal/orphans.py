"""Objects that no row names: known garbage is deleted, unknown objects are watched and become garbage in time.

The one place that knows who keeps objects in which bucket. Nothing is deleted that a row names, and nothing at all
from buckets of another installation.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import delete, func, insert, select, update

from portal import config
from portal.db import db, now, release
from portal.errors import StorageFailed
from portal.garbage import LEASE, Garbage, UnknownObject, add, forget
from portal.images import retention
from portal.infra import jobs, storage
from portal.infra.storage import Bucket, Stored
from portal.installation import owns_buckets
from portal.listings import catalogue
from portal.work import BUCKETS, held, quietly, work

log = logging.getLogger(__name__)

COLLECT_FOR_S = 10  # imports wait in the same queue
GRACE = timedelta(days=1)  # far longer than any confirm: what is younger may still get its row
BATCH = 500
SUSPICIOUS, SUSPICIOUS_SHARE = 200, 0.2  # a brake: so many unknown objects suggest that the database is an old one

Named = Callable[[Sequence[str]], set[str]]  # which of these keys have a row

OWNERS: dict[str, tuple[Named, ...]] = {
    "cdn": (retention.named_in_cdn, catalogue.named_in_cdn),
    "uploads": (retention.named_in_uploads,),
}


def collect() -> int:
    """Delete known garbage, MAX_KEYS a call, and forget what is gone; return how many objects.

    What a bucket would not delete is tried again in LEASE. Raises StorageFailed where one doesn't answer, once the
    other's is deleted.
    """
    end, count = time.monotonic() + COLLECT_FOR_S, 0
    failed: StorageFailed | None = None
    while owns_buckets() and (claimed := _claim()):
        for bucket in BUCKETS:
            try:
                count += _delete(bucket, {id: key for id, role, key in claimed if role == bucket.role})
            except StorageFailed as error:
                failed = error
        if time.monotonic() > end:
            quietly(jobs.enqueue, jobs.collect_garbage())
            break
    if failed:
        raise failed
    return count


def enqueue_missing() -> int:
    """Enqueue the collection where garbage is due and no worker is on its way to it; return how much is due."""
    due = db.session.scalar(select(func.count()).where(Garbage.next_at <= now())) or 0
    if due and owns_buckets():
        jobs.enqueue_missing([jobs.collect_garbage()])
    return due


def find(grace: timedelta = GRACE, kept: timedelta | None = None) -> list[str]:
    """Look through both buckets for objects older than `grace` that no row names; return those that are garbage now.

    What is under the key of a confirmed upload was PUT there again: its URL lives for an hour. Everything else is
    unknown, and garbage when it still is after `kept` (UNKNOWN_OBJECTS_KEPT_DAYS).
    """
    if not owns_buckets():
        return []
    kept = timedelta(days=config.settings().unknown_objects_kept_days) if kept is None else kept
    return [key for bucket in BUCKETS for key in _look_through(bucket, grace, kept)]


def _claim() -> list[tuple[int, str, str]]:
    """Take garbage that is due: nobody else deletes it, or names it again, for LEASE."""
    due = select(Garbage).where(Garbage.next_at <= now()).order_by(Garbage.id).limit(storage.MAX_KEYS)
    with work():
        rows = list(db.session.scalars(held(due, Garbage, skip_locked=True)))
        claimed = [(row.id, row.bucket, row.key) for row in rows]
        taken = update(Garbage).where(Garbage.id.in_([id for id, _, _ in claimed]))
        db.session.execute(taken.values(next_at=now() + LEASE).execution_options(synchronize_session=False))
    return claimed


def _delete(bucket: Bucket, garbage: dict[int, str]) -> int:
    if not garbage:
        return 0
    named = _named(bucket, list(garbage.values()))
    if named:
        log.error("%d objects of %s were garbage and are named by a row: they stay", len(named), bucket.name)
    refused = bucket.delete(*{key for key in garbage.values() if key not in named})
    gone = {key for key in garbage.values() if key not in refused}
    with work():
        forget(bucket, gone)
    return len(gone)


def _look_through(bucket: Bucket, grace: timedelta, kept: timedelta) -> list[str]:
    began_at, seen = now(), 0
    ours: list[str] = []
    due: list[str] = []
    for page in _pages(stored for stored in bucket.list() if stored.modified_at < began_at - grace):
        keys = [stored.key for stored in page]
        seen += len(keys)
        nameless = set(keys) - _named(bucket, keys) - _is_garbage(bucket, keys)
        used = retention.used_uploads(list(nameless)) if bucket.role == "uploads" else set()
        ours += used
        due += _watch(bucket, nameless - used, began_at, kept)
    if len(due) > max(SUSPICIOUS, seen * SUSPICIOUS_SHARE):
        log.error("%d of %d objects in %s have no row here: is this its database?", len(due), seen, bucket.name)
        due = []
    with work():
        add(((bucket, key) for key in [*ours, *due]), after=timedelta())
        watched = delete(UnknownObject).where(UnknownObject.bucket == bucket.role)
        db.session.execute(watched.where(UnknownObject.last_seen_at < began_at))  # gone, or named by now
        for n in range(0, len(due), BATCH):
            db.session.execute(watched.where(UnknownObject.key.in_(due[n : n + BATCH])))
    return [*ours, *due]


def _watch(bucket: Bucket, unknown: set[str], at: datetime, kept: timedelta) -> list[str]:
    """Note when unknown objects were first seen; return those whose time is up."""
    with work():
        mine = select(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(unknown))
        known = {row.key: row.first_seen_at for row in db.session.scalars(mine)}
        again = update(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(known))
        db.session.execute(again.values(last_seen_at=at).execution_options(synchronize_session=False))
        common = {"bucket": bucket.role, "first_seen_at": at, "last_seen_at": at}
        if fresh := unknown - known.keys():
            db.session.execute(insert(UnknownObject), [{"key": key, **common} for key in fresh])
    return sorted(key for key in unknown if at - known.get(key, at) >= kept)


def _named(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row names at this moment."""
    found = set[str]().union(*(named(keys) for named in OWNERS[bucket.role]))
    release()  # end the reading: the next page is compared with the rows of that moment
    return found


def _is_garbage(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    known = select(Garbage.key).where(Garbage.bucket == bucket.role, Garbage.key.in_(keys))
    return set(db.session.scalars(known))


def _pages(items: Iterator[Stored]) -> Iterator[list[Stored]]:
    while page := list(islice(items, BATCH)):
        yield page
