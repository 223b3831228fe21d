"""Objects to delete, as rows.

A Garbage row exists until its bucket confirms the deletion; an UnknownObject row exists until another row refers to
the object or its retention ends.
"""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Index, String, delete, insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Id, Moment, db, now
from portal.infra.storage import Bucket

LEASE = timedelta(seconds=60)  # longer than a call to a bucket, including its retries


class Garbage(Base):
    """An object that is no longer needed. Deleting it is due from `next_at` on; no job in Redis is needed for that."""

    __tablename__ = "garbage"
    __table_args__ = (Index("ix_garbage_due", "next_at"), Index("ix_garbage_key", "key"))

    id: Mapped[Id]
    bucket: Mapped[str] = mapped_column(String(10))  # Bucket.role: the bucket itself may be renamed
    key: Mapped[str] = mapped_column(String(1024))  # the longest key that S3 allows
    next_at: Mapped[Moment]  # when it is due; also the end of the lease of a worker that is deleting it


class UnknownObject(Base):
    """An object that no row refers to: a crash left it behind, or something else put it into the bucket."""

    __tablename__ = "unknown_object"
    __table_args__ = (Index("ix_unknown_object_key", "key"),)

    id: Mapped[Id]
    bucket: Mapped[str] = mapped_column(String(10))
    key: Mapped[str] = mapped_column(String(1024))
    first_seen_at: Mapped[Moment]
    last_seen_at: Mapped[Moment]


def add(objects: Iterable[tuple[Bucket, str]], after: timedelta = LEASE) -> None:
    """Record objects as garbage, in the transaction that drops them. They are due after `after`."""
    due_at = now() + after
    rows = [{"bucket": bucket.role, "key": key, "next_at": due_at} for bucket, key in objects]
    if rows:
        db.session.execute(insert(Garbage), rows)


def forget(bucket: Bucket, keys: Iterable[str]) -> None:
    """Delete the rows of objects that are gone."""
    db.session.execute(delete(Garbage).where(Garbage.bucket == bucket.role, Garbage.key.in_(list(keys))))
