"""A unit of work: write objects, commit rows, then delete objects and enqueue jobs; all or nothing."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Select, inspect
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from portal import garbage, installation, inventory
from portal.db import Base, db, writing
from portal.infra import jobs, storage
from portal.infra.jobs import Job
from portal.infra.storage import Bucket
from portal.inventory import Written

Query = TypeVar("Query", bound=Select[Any])

log = logging.getLogger(__name__)

DELETION_TIME_LIMIT_S = 5  # shorter than a hanging call to a bucket, so at most one such call is made
BUCKETS = (storage.cdn, storage.uploads)  # of the current app; public objects are deleted first


class Work:
    """The effects of a change outside the database: writes before the commit, deletions and jobs after it."""

    def __init__(self) -> None:
        self.written: list[tuple[Bucket, str]] = []
        self.recorded: list[Written] = []
        self.renewed: list[tuple[str, str]] = []
        self.dropped: list[tuple[Bucket, str]] = []
        self.jobs: list[Job] = []

    def put(
        self, bucket: Bucket, key: str, data: bytes, type: str, kind: str, *, pipeline: str | None = None
    ) -> Written:
        """Write an object under an unused key; it is deleted again if the change fails.

        The commit adds its row to the inventory. Threads of the change may call this.
        """
        self.written.append((bucket, key))  # before the put: one that times out may still have arrived
        written = inventory.write(bucket, key, data, type, kind, pipeline)
        self.recorded.append(written)
        return written

    def record(self, *written: Written) -> None:
        """Add the rows of objects that were written outside the change, in place of any rows of their keys."""
        self.recorded += written
        self.renewed += [(each.bucket.role, each.key) for each in written]

    def drop(self, bucket: Bucket, *keys: str | None) -> None:
        """Delete objects after the commit, which records them as garbage; keys that are None are skipped.

        The objects that they had replaced go with them.
        """
        self.dropped += [(bucket, key) for key in keys if key]

    def enqueue(self, job: Job) -> None:
        """Enqueue a job once the change is committed."""
        self.jobs.append(job)


@contextmanager
def work(*, independent: bool = False) -> Iterator[Work]:
    """Commit the block's changes, or roll them back if it raises.

    Inside before_last_commit(), an independent change is committed too when its block ends, so that it stays even if
    the request fails.
    """
    last = _last.get()
    if last is not None:
        last.close()  # only the last change stays open: commit the one before it
    if last is None or independent:
        with _change() as change:
            yield change
        return
    with ExitStack() as this:
        change = this.enter_context(_change())
        yield change
        db.session.flush()
        last.push(this.pop_all())


@contextmanager
def before_last_commit(hook: Callable[[], None]) -> Iterator[None]:
    """Run `hook` in the transaction of the last change inside the block, so that both are committed together.

    It stores the answer to a request, which is known only after the request's change. That change stays uncommitted
    until the block ends and is rolled back if the block or the hook raises. If the block makes no change, the hook's
    rows are committed alone.
    """
    with ExitStack() as last:
        token = _last.set(last)
        try:
            yield
        finally:
            _last.reset(token)
        if not writing.get():
            last.enter_context(_change())
        hook()


_last: ContextVar[ExitStack | None] = ContextVar("last", default=None)


@contextmanager
def _change() -> Iterator[Work]:
    session = db.session
    assert not (session.new or session.dirty or session.deleted), "changes made outside work()"
    assert not writing.get(), "work() inside work()"
    session.commit()  # ends the read transaction, so that the change starts from current rows
    change = Work()
    token = writing.set(True)
    committing = False
    try:
        yield change
        session.flush()
        _update_inventory(change)
        garbage.add(change.dropped)
        committing = True
        session.commit()
    except BaseException as error:
        session.rollback()
        if not (committing and _may_have_committed(error)):
            list(_delete(change.written))
        raise
    finally:
        writing.reset(token)
    for job in change.jobs:
        best_effort(jobs.enqueue, job)
    with _suppress_and_log("deletion failed: left to the sweep"):
        _clean_up(change)


def _update_inventory(change: Work) -> None:
    """Add rows of the objects that were written, and remove those of the dropped ones and of what they had replaced."""
    gone = {(bucket.role, key) for bucket, key in change.dropped}
    inventory.remove(change.renewed)
    inventory.record([each for each in change.recorded if (each.bucket.role, each.key) not in gone])
    if gone:
        buckets = {bucket.role: bucket for bucket in BUCKETS}
        replaced = inventory.predecessors(gone)
        change.dropped += [(buckets[role], key) for role, key in replaced]
        inventory.remove([*gone, *replaced])


def _clean_up(change: Work) -> None:
    """Delete the dropped objects and their garbage rows; the sweep collects objects that could not be deleted."""
    if change.dropped and installation.owns_buckets():
        for bucket, gone in _delete(change.dropped):
            with _suppress_and_log("deleting garbage rows failed: left to the sweep"), _change():
                garbage.forget(bucket, gone)


def lock(row: Base) -> bool:
    """Lock a row until the commit and refresh it; return False if it no longer exists.

    PostgreSQL locks the row FOR NO KEY UPDATE, so that inserting or updating a row that refers to it does not
    block. Otherwise a change that holds a child's lock would wait for its parent's, and deadlock with a change that
    takes them in the opposite order. SQLite ignores the clause, but a transaction that begins inside work() holds
    its only write lock from the first statement on.
    """
    assert writing.get(), "lock() outside work()"
    try:
        # OF this table alone: locking its joined relations would lock the whole workspace, and deadlock
        db.session.refresh(row, _read_by_default(type(row)), with_for_update={"of": type(row), "key_share": True})
    except InvalidRequestError:
        return False
    return True


@cache
def _read_by_default(model: type[Base]) -> list[str]:
    """Return the attributes that a query loads by default, so that refreshing leaves other loaded relations alone."""
    mapper = inspect(model)
    columns = [column.key for column in mapper.column_attrs if not column.deferred]
    return columns + [relation.key for relation in mapper.relationships if relation.lazy == "joined"]


def for_update(query: Query, of: type[Base], *, skip_locked: bool = False) -> Query:
    """Make a SELECT lock its rows of one table, as `lock()` does. Callers that lock several rows order them by id."""
    return query.with_for_update(key_share=True, of=of, skip_locked=skip_locked)


def _delete(objects: Sequence[tuple[Bucket, str]]) -> Iterator[tuple[Bucket, set[str]]]:
    """Delete objects in batches for up to DELETION_TIME_LIMIT_S; yield each bucket with the keys that are gone.

    A slow bucket must not delay the response; the sweep deletes what is left.
    """
    end = time.monotonic() + DELETION_TIME_LIMIT_S
    for bucket in BUCKETS:
        keys = [key for owner, key in objects if owner is bucket]
        for n in range(0, len(keys), storage.MAX_KEYS):
            batch = keys[n : n + storage.MAX_KEYS]
            if time.monotonic() > end:
                log.warning("deletion timed out: bucket=%s left=%d", bucket.name, len(keys) - n)
                break
            with _suppress_and_log(f"deletion failed: bucket={bucket.name} objects={len(batch)}"):
                yield bucket, set(batch) - bucket.delete(*batch)


def best_effort(action: Callable[..., Any], *args: Any) -> None:
    """Run an action that the sweep would otherwise do later; log a failure instead of raising it."""
    with _suppress_and_log(f"left to the sweep: {getattr(action, '__qualname__', action)}{args!r}"):
        action(*args)


@contextmanager
def _suppress_and_log(event: str) -> Iterator[None]:
    """Log an exception of the block as a warning, and don't propagate it."""
    try:
        yield
    except Exception:
        log.warning("%s", event, exc_info=True)


def _may_have_committed(error: BaseException) -> bool:
    """Return whether a failed COMMIT may have taken effect: then the written objects stay, and the sweep decides.

    Only an error from a database that is still connected proves that it did not.
    """
    return not isinstance(error, DBAPIError) or bool(error.connection_invalidated)
