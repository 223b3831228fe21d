"""Delete objects that no row refers to: garbage when it is due, unknown objects after a retention period.

The only module that knows which tables refer to objects in which bucket. An object that a row refers to is never
deleted, nor is any object in a bucket of another installation.
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
from portal.infra.storage import Bucket, ObjectMetadata
from portal.installation import owns_buckets
from portal.listings import catalogue
from portal.work import BUCKETS, held, quietly, work

log = logging.getLogger(__name__)

COLLECT_FOR_S = 10  # imports wait in the same queue
GRACE = timedelta(days=1)  # far longer than any confirm: a younger object may still get its row
BATCH = 500
SUSPICIOUS, SUSPICIOUS_SHARE = 200, 0.2  # more unknown objects than both suggest that the database is an old copy

Named = Callable[[Sequence[str]], set[str]]  # returns those of the keys that a row refers to

OWNERS: dict[str, tuple[Named, ...]] = {
    "cdn": (retention.named_in_cdn, catalogue.named_in_cdn),
    "uploads": (retention.named_in_uploads,),
}


def collect() -> int:
    """Delete due garbage, up to MAX_KEYS objects per call; return how many objects were deleted.

    Objects that a bucket refuses to delete are due again after LEASE. Raises StorageFailed if a bucket doesn't answer,
    after deleting the other bucket's garbage.
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
    """Enqueue the collection if garbage is due and no job is queued or running; return how many objects are due."""
    due = db.session.scalar(select(func.count()).where(Garbage.next_at <= now())) or 0
    if due and owns_buckets():
        jobs.enqueue_missing([jobs.collect_garbage()])
    return due


def find(grace: timedelta = GRACE, kept: timedelta | None = None) -> list[str]:
    """List both buckets for objects older than `grace` that no row refers to; return the keys that became garbage.

    An object under the key of a confirmed upload is garbage immediately: a client reused its URL, which is valid for
    an hour. Any other such object is recorded as unknown, and is garbage if it is still unknown after `kept` (by
    default UNKNOWN_OBJECTS_KEPT_DAYS).
    """
    if not owns_buckets():
        return []
    kept = timedelta(days=config.settings().unknown_objects_kept_days) if kept is None else kept
    return [key for bucket in BUCKETS for key in _look_through(bucket, grace, kept)]


def _claim() -> list[tuple[int, str, str]]:
    """Lease due garbage, so that no other worker deletes it for LEASE."""
    due = select(Garbage).where(Garbage.next_at <= now()).order_by(Garbage.id).limit(storage.MAX_KEYS)
    with work():
        rows = list(db.session.scalars(held(due, Garbage, skip_locked=True)))
        claimed = [(row.id, row.bucket, row.key) for row in rows]
        leased = update(Garbage).where(Garbage.id.in_([id for id, _, _ in claimed]))
        db.session.execute(leased.values(next_at=now() + LEASE).execution_options(synchronize_session=False))
    return claimed


def _delete(bucket: Bucket, garbage: dict[int, str]) -> int:
    if not garbage:
        return 0
    named = _named(bucket, list(garbage.values()))
    if named:
        log.error("garbage is in use and is kept: bucket=%s objects=%d", bucket.name, len(named))
    refused = bucket.delete(*{key for key in garbage.values() if key not in named})
    gone = {key for key in garbage.values() if key not in refused}
    with work():
        forget(bucket, gone)
    return len(gone)


def _look_through(bucket: Bucket, grace: timedelta, kept: timedelta) -> list[str]:
    began_at, seen = now(), 0
    reused: list[str] = []
    due: list[str] = []
    for page in _pages(stored for stored in bucket.list() if stored.modified_at < began_at - grace):
        keys = [stored.key for stored in page]
        seen += len(keys)
        unnamed = set(keys) - _named(bucket, keys) - _known_garbage(bucket, keys)
        used = retention.used_uploads(list(unnamed)) if bucket.role == "uploads" else set()
        reused += used
        due += _watch(bucket, unnamed - used, began_at, kept)
    if len(due) > max(SUSPICIOUS, seen * SUSPICIOUS_SHARE):
        log.error(
            "too many unknown objects, none deleted (is this its database?): bucket=%s unknown=%d of %d",
            bucket.name,
            len(due),
            seen,
        )
        due = []
    with work():
        add(((bucket, key) for key in [*reused, *due]), after=timedelta())
        watched = delete(UnknownObject).where(UnknownObject.bucket == bucket.role)
        db.session.execute(watched.where(UnknownObject.last_seen_at < began_at))  # gone, or referred to by a row now
        for n in range(0, len(due), BATCH):
            db.session.execute(watched.where(UnknownObject.key.in_(due[n : n + BATCH])))
    return [*reused, *due]


def _watch(bucket: Bucket, unknown: set[str], at: datetime, kept: timedelta) -> list[str]:
    """Record when unknown objects were first and last seen; return the keys that were first seen `kept` ago."""
    with work():
        seen_before = select(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(unknown))
        first_seen_at = {row.key: row.first_seen_at for row in db.session.scalars(seen_before)}
        again = update(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(first_seen_at))
        db.session.execute(again.values(last_seen_at=at).execution_options(synchronize_session=False))
        common = {"bucket": bucket.role, "first_seen_at": at, "last_seen_at": at}
        if fresh := unknown - first_seen_at.keys():
            db.session.execute(insert(UnknownObject), [{"key": key, **common} for key in fresh])
    return sorted(key for key in unknown if at - first_seen_at.get(key, at) >= kept)


def _named(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row refers to now."""
    found = set[str]().union(*(named(keys) for named in OWNERS[bucket.role]))
    release()  # end the read transaction, so that the next page is compared with current rows
    return found


def _known_garbage(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    known = select(Garbage.key).where(Garbage.bucket == bucket.role, Garbage.key.in_(keys))
    return set(db.session.scalars(known))


def _pages(items: Iterator[ObjectMetadata]) -> Iterator[list[ObjectMetadata]]:
    while page := list(islice(items, BATCH)):
        yield page
