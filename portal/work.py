"""The one seam where the world changes: rows, objects and bells, in that order of trust."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Select, inspect
from sqlalchemy.exc import DBAPIError, InvalidRequestError

from portal import garbage, installation
from portal.db import Base, db, writing
from portal.infra import jobs, storage
from portal.infra.jobs import Job
from portal.infra.storage import Bucket

Rows = TypeVar("Rows", bound=Select[Any])

log = logging.getLogger(__name__)

DELETING_S = 5  # less than one call to a bucket that hangs: there is one such call at most
BUCKETS = (storage.cdn, storage.uploads)  # of the current app; what is public goes first


class Work:
    """What a change does outside the database: objects before the commit, drops and bells after it."""

    def __init__(self) -> None:
        self.written: list[tuple[Bucket, str]] = []
        self.dropped: list[tuple[Bucket, str]] = []
        self.jobs: list[Job] = []

    def put(self, bucket: Bucket, key: str, data: bytes, type: str) -> None:
        """Write an object under a key that nothing had; it is deleted again if the change fails."""
        self.written.append((bucket, key))  # first: a put that times out may still have arrived
        bucket.put(key, data, type)

    def drop(self, bucket: Bucket, *keys: str | None) -> None:
        """Have objects deleted: they are garbage from the commit on, and gone soon after it. None is skipped."""
        self.dropped += [(bucket, key) for key in keys if key]

    def enqueue(self, job: Job) -> None:
        """Ring for a job once the change is committed."""
        self.jobs.append(job)


@contextmanager
def work() -> Iterator[Work]:
    """Commit what the block did, or undo it."""
    last = _last.get()
    if last is None:
        with _change() as change:
            yield change
        return
    last.close()  # inside riding() only the last change waits; the one before it is committed now
    with ExitStack() as this:
        change = this.enter_context(_change())
        yield change
        db.session.flush()
        last.push(this.pop_all())


@contextmanager
def riding(rider: Callable[[], None]) -> Iterator[None]:
    """Have `rider` change rows in the very commit of the last change inside the block: both or neither.

    For the answer to a request, which is known only after its change: that change waits, uncommitted,
    until the block ends, and is undone where the block raises. Without a change the rider goes alone.
    """
    with ExitStack() as last:
        token = _last.set(last)
        try:
            yield
        finally:
            _last.reset(token)
        if not writing.get():
            last.enter_context(_change())
        rider()


_last: ContextVar[ExitStack | None] = ContextVar("last", default=None)


@contextmanager
def _change() -> Iterator[Work]:
    session = db.session
    assert not (session.new or session.dirty or session.deleted), "changes made outside work()"
    assert not writing.get(), "work() inside work()"
    session.commit()  # ends the reading so far: what is read from here on is read anew
    change = Work()
    token = writing.set(True)
    committing = False
    try:
        yield change
        session.flush()
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
        quietly(jobs.enqueue, job)
    with _noted("what was dropped is left for later"):
        _clean_up(change)


def _clean_up(change: Work) -> None:
    """Delete what the change dropped, and forget what is gone; what can't be deleted now is garbage for later."""
    if change.dropped and installation.owns_buckets():
        for bucket, gone in _delete(change.dropped):
            with _noted("what is gone is not forgotten yet"), _change():
                garbage.forget(bucket, gone)


def lock(row: Base) -> bool:
    """Hold a row until the commit and read it anew; False when it is gone.

    PostgreSQL locks the row FOR NO KEY UPDATE: whoever writes a row that refers to it is not kept waiting, else a
    change of a child under its own lock would wait for its parent's, and deadlock with who goes the other way.
    SQLite ignores these words, but there a transaction that begins inside work() holds the only write lock from
    its first statement on.
    """
    assert writing.get(), "lock() outside work()"
    try:
        # OF this table alone: its joined relations would lock the whole workspace with it, and deadlock
        db.session.refresh(row, _read_by_default(type(row)), with_for_update={"of": type(row), "key_share": True})
    except InvalidRequestError:
        return False
    return True


@cache
def _read_by_default(model: type[Base]) -> list[str]:
    """The attributes that a query reads unless it is told otherwise: a relation that it was told to read stays read."""
    mapper = inspect(model)
    columns = [column.key for column in mapper.column_attrs if not column.deferred]
    return columns + [relation.key for relation in mapper.relationships if relation.lazy == "joined"]


def held(rows: Rows, of: type[Base], *, skip_locked: bool = False) -> Rows:
    """Have a SELECT hold its rows of this table as `lock()` does; in an order that all keep to, where they are many."""
    return rows.with_for_update(key_share=True, of=of, skip_locked=skip_locked)


def discard(bucket: Bucket, key: str) -> None:
    """Delete an object that nothing needs, from a bucket that is ours; where that fails it is left as it is."""
    with _noted(f"{key} is left for later"):
        if installation.owns_buckets():
            list(_delete([(bucket, key)]))


def _delete(objects: Sequence[tuple[Bucket, str]]) -> Iterator[tuple[Bucket, set[str]]]:
    """Delete objects for a moment, many with each call, the first of which may hang; yield those that are gone.

    A bucket that is slow must not hold up the answer: whatever is left then is left for later.
    """
    end = time.monotonic() + DELETING_S
    for bucket in BUCKETS:
        keys = [key for its, key in objects if its is bucket]
        for n in range(0, len(keys), storage.MAX_KEYS):
            some = keys[n : n + storage.MAX_KEYS]
            if time.monotonic() > end:
                log.warning("left for later: %d objects of %s, deleting takes too long", len(keys) - n, bucket.name)
                break
            with _noted(f"left for later: {len(some)} objects of {bucket.name}"):
                yield bucket, set(some) - bucket.delete(*some)


def quietly(action: Callable[..., Any], *args: Any) -> None:
    """Do what the sweep would do later anyway: a failure is noted, not raised."""
    with _noted(f"left to the sweep: {getattr(action, '__qualname__', action)}{args!r}"):
        action(*args)


@contextmanager
def _noted(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.warning("%s", what, exc_info=True)


def _may_have_committed(error: BaseException) -> bool:
    """Whatever broke off a COMMIT may have come after it: what was written stays, and the sweep decides.

    Only a database that is still there and says no is sure.
    """
    return not isinstance(error, DBAPIError) or bool(error.connection_invalidated)
