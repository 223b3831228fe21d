"""Objects that are garbage, as rows: known garbage until its bucket confirms that it is gone, unknown objects until
somebody names them or their time is up.
"""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Index, String, delete, insert
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Id, Moment, db, now
from portal.infra.storage import Bucket

LEASE = timedelta(seconds=60)  # longer than a call to a bucket takes, its retries included


class Garbage(Base):
    """An object that no row needs any more. A due row is itself the job."""

    __tablename__ = "garbage"
    __table_args__ = (Index("ix_garbage_due", "next_at"), Index("ix_garbage_key", "key"))

    id: Mapped[Id]
    bucket: Mapped[str] = mapped_column(String(10))  # Bucket.role: the bucket itself may be renamed
    key: Mapped[str] = mapped_column(String(1024))  # S3's longest
    next_at: Mapped[Moment]  # when to delete it; until then it is left to whoever is deleting it


class UnknownObject(Base):
    """An object whose key stands in no row: a crash left it behind, or it is somebody else's."""

    __tablename__ = "unknown_object"
    __table_args__ = (Index("ix_unknown_object_key", "key"),)

    id: Mapped[Id]
    bucket: Mapped[str] = mapped_column(String(10))
    key: Mapped[str] = mapped_column(String(1024))
    first_seen_at: Mapped[Moment]
    last_seen_at: Mapped[Moment]


def add(objects: Iterable[tuple[Bucket, str]], after: timedelta = LEASE) -> None:
    """Note objects as garbage, in the commit that makes them so. Who notes them has `after` to delete them itself."""
    due_at = now() + after
    rows = [{"bucket": bucket.role, "key": key, "next_at": due_at} for bucket, key in objects]
    if rows:
        db.session.execute(insert(Garbage), rows)


def forget(bucket: Bucket, keys: Iterable[str]) -> None:
    """Forget objects that are gone."""
    db.session.execute(delete(Garbage).where(Garbage.bucket == bucket.role, Garbage.key.in_(list(keys))))
