"""Delete objects that no row refers to: garbage when it is due, unknown objects after a retention period.

The only module that knows which tables refer to objects in which bucket. An object that a row refers to is never
deleted, nor is any object in a bucket of another installation.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import delete, insert, select, update

from portal import config, inventory
from portal.db import db, now, release
from portal.errors import StorageFailed
from portal.garbage import LEASE, Garbage, UnknownObject, add, forget
from portal.images import retention
from portal.infra import jobs, storage
from portal.infra.storage import Bucket, ObjectMetadata
from portal.installation import owns_buckets
from portal.listings import catalogue
from portal.work import BUCKETS, best_effort, for_update, work

log = logging.getLogger(__name__)

COLLECT_FOR_S = 10  # imports wait in the same queue
GRACE = timedelta(days=1)  # far longer than any confirm: a younger object may still get its row
BATCH = 500
MAX_UNKNOWN, MAX_UNKNOWN_SHARE = 200, 0.2  # if both are exceeded, the database is probably an old copy

FindReferenced = Callable[[Sequence[str]], set[str]]  # returns those of the keys that a row refers to

REFERENCES: dict[str, tuple[FindReferenced, ...]] = {
    "cdn": (retention.referenced_cdn_keys, retention.replaced_cdn_keys, catalogue.referenced_cdn_keys),
    "uploads": (retention.referenced_upload_keys,),
}


def collect() -> int:
    """Delete due garbage for up to COLLECT_FOR_S; return how many objects were deleted.

    Takes MAX_KEYS objects at a time. When the time is up, the job is enqueued again for the rest. Objects that a bucket
    refuses to delete are due again after LEASE. Raises StorageFailed if a bucket doesn't answer, after deleting the
    other bucket's garbage.
    """
    end, count = time.monotonic() + COLLECT_FOR_S, 0
    failed: StorageFailed | None = None
    while owns_buckets() and (claimed := _claim()):
        for bucket in BUCKETS:
            try:
                count += _delete(bucket, [key for role, key in claimed if role == bucket.role])
            except StorageFailed as error:
                failed = error
        if time.monotonic() > end:
            best_effort(jobs.enqueue, jobs.collect_garbage())
            break
    if failed:
        raise failed
    return count


def enqueue_missing() -> None:
    """Enqueue the collection if garbage is due and the job is neither queued nor running."""
    due = select(Garbage.id).where(Garbage.next_at <= now()).limit(1)
    if db.session.scalar(due) is not None and owns_buckets():
        jobs.enqueue_missing([jobs.collect_garbage()])


def find(grace: timedelta = GRACE, keep_for: timedelta | None = None) -> list[str]:
    """Search both buckets for objects older than `grace` that no row refers to; return the keys that became garbage.

    An object under the key of a confirmed upload is garbage immediately: a client reused its URL, which is valid for
    an hour. Any other such object is recorded as unknown, and is garbage if it is still unknown after `keep_for` (by
    default UNKNOWN_OBJECTS_KEPT_DAYS).
    """
    if not owns_buckets():
        return []
    keep_for = timedelta(days=config.settings().unknown_objects_kept_days) if keep_for is None else keep_for
    return [key for bucket in BUCKETS for key in _scan(bucket, grace, keep_for)]


def unknown_among(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that neither a row refers to nor the garbage names."""
    return set(keys) - _referenced(bucket, keys) - _known_garbage(bucket, keys)


def are_too_many(unknown: int, seen: int) -> bool:
    """Return whether so many of the objects seen are unknown that the database is probably an old or a wrong one."""
    return unknown > max(MAX_UNKNOWN, seen * MAX_UNKNOWN_SHARE)


def _claim() -> list[tuple[str, str]]:
    """Lease due garbage, so that no other worker deletes it for LEASE; return pairs of a bucket's role and a key."""
    due = select(Garbage).where(Garbage.next_at <= now()).order_by(Garbage.id).limit(storage.MAX_KEYS)
    with work():
        rows = list(db.session.scalars(for_update(due, Garbage, skip_locked=True)))
        claimed = [(row.bucket, row.key) for row in rows]
        leased = update(Garbage).where(Garbage.id.in_([row.id for row in rows]))
        db.session.execute(leased.values(next_at=now() + LEASE).execution_options(synchronize_session=False))
    return claimed


def _delete(bucket: Bucket, keys: Sequence[str]) -> int:
    if not keys:
        return 0
    referenced = _referenced(bucket, keys)
    if referenced:
        log.error("garbage is in use and is kept: bucket=%s objects=%d", bucket.name, len(referenced))
    refused = bucket.delete(*(set(keys) - referenced))
    gone = set(keys) - refused
    with work():
        forget(bucket, gone)
        inventory.forget(bucket, gone - referenced)  # of objects that turned up as unknown
    return len(gone)


def _scan(bucket: Bucket, grace: timedelta, keep_for: timedelta) -> list[str]:
    began_at, seen = now(), 0
    reused: list[str] = []
    due: list[str] = []
    for batch in _batches(stored for stored in bucket.list() if stored.modified_at < began_at - grace):
        keys = [stored.key for stored in batch]
        seen += len(keys)
        unreferenced = unknown_among(bucket, keys)
        used = retention.used_uploads(list(unreferenced)) if bucket.role == "uploads" else set()
        reused += used
        due += _track_unknown(bucket, unreferenced - used, began_at, keep_for)
    if are_too_many(len(due), seen):
        log.error(
            "too many unknown objects, none deleted (is this its database?): bucket=%s unknown=%d of %d",
            bucket.name,
            len(due),
            seen,
        )
        due = []
    with work():
        add(((bucket, key) for key in [*reused, *due]), after=timedelta())
        tracked = delete(UnknownObject).where(UnknownObject.bucket == bucket.role)
        db.session.execute(tracked.where(UnknownObject.last_seen_at < began_at))  # gone, or referred to by a row now
        for n in range(0, len(due), BATCH):
            db.session.execute(tracked.where(UnknownObject.key.in_(due[n : n + BATCH])))
    return [*reused, *due]


def _track_unknown(bucket: Bucket, unknown: set[str], at: datetime, keep_for: timedelta) -> list[str]:
    """Record when unknown objects were first and last seen; return the keys that were first seen `keep_for` ago."""
    with work():
        seen_before = select(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(unknown))
        first_seen_at = {row.key: row.first_seen_at for row in db.session.scalars(seen_before)}
        again = update(UnknownObject).where(UnknownObject.bucket == bucket.role, UnknownObject.key.in_(first_seen_at))
        db.session.execute(again.values(last_seen_at=at).execution_options(synchronize_session=False))
        common = {"bucket": bucket.role, "first_seen_at": at, "last_seen_at": at}
        if fresh := unknown - first_seen_at.keys():
            db.session.execute(insert(UnknownObject), [{"key": key, **common} for key in fresh])
    return sorted(key for key in unknown if at - first_seen_at.get(key, at) >= keep_for)


def _referenced(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row refers to now."""
    found = set[str]().union(*(find_referenced(keys) for find_referenced in REFERENCES[bucket.role]))
    release()  # end the read transaction, so that the next batch is compared with current rows
    return found


def _known_garbage(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    known = select(Garbage.key).where(Garbage.bucket == bucket.role, Garbage.key.in_(keys))
    return set(db.session.scalars(known))


def _batches(items: Iterator[ObjectMetadata]) -> Iterator[list[ObjectMetadata]]:
    while batch := list(islice(items, BATCH)):
        yield batch
