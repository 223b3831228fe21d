"""The inventory: which objects our code has written into the buckets, with the SHA-256 of each one's bytes.

A row is written in the commit that names its object, and removed in the one that drops it. Rows of releases before the
inventory have no hash until the audit adopts them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import Index, String, Table, bindparam, delete, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Moment, db, now
from portal.errors import Problem
from portal.infra.storage import MAX_KEYS, Bucket

T = TypeVar("T")

ORIGINAL, LARGE, THUMB, RENDITION, COPY = KINDS = ("original", "large", "thumb", "rendition", "copy")
MISSING, CHANGED, LENGTH, TYPE = DAMAGES = ("missing", "changed", "length", "type")
REPLACED_KEPT = timedelta(days=30)  # how long a replaced object stays under its old address
# In byte order, as buckets list keys, whatever the database's locale is
KEY = String(1024, collation="C").with_variant(String(1024), "sqlite")


class StoredObject(Base):
    """An object in a bucket."""

    __tablename__ = "stored_object"
    __table_args__ = (
        Index(
            "ix_stored_object_damage",
            "damage",
            sqlite_where=text("damage IS NOT NULL"),
            postgresql_where=text("damage IS NOT NULL"),
        ),
        Index(
            "ix_stored_object_replaced_by",
            "replaced_by",
            sqlite_where=text("replaced_by IS NOT NULL"),
            postgresql_where=text("replaced_by IS NOT NULL"),
        ),
        Index("ix_stored_object_verified_at", "verified_at"),
        Index("ix_stored_object_kind", "kind", "size_bytes", "damage"),  # what the page Storage counts
    )

    bucket: Mapped[str] = mapped_column(String(10), primary_key=True)  # Bucket.role: the bucket itself may be renamed
    key: Mapped[str] = mapped_column(KEY, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))  # one of KINDS
    type: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the stored bytes
    etag: Mapped[str | None] = mapped_column(String(300))  # opaque, as the bucket gave it
    pipeline: Mapped[str | None] = mapped_column(String(100))  # derive.PIPELINE; None: not derived, or not known
    is_adopted: Mapped[bool] = mapped_column(default=False)  # the hash was taken later, of bytes that could be decoded
    stored_at: Mapped[Moment] = mapped_column(default=now)
    verified_at: Mapped[Moment | None]  # when the bytes were last compared with the hash
    damage: Mapped[str | None] = mapped_column(String(10))  # one of DAMAGES; None: none is known
    damaged_at: Mapped[Moment | None]
    replaced_by: Mapped[str | None] = mapped_column(KEY)  # key of the object that took its place in the same bucket
    replaced_at: Mapped[Moment | None]  # None again once the object is given up: the row only redirects then


class Facts(NamedTuple):
    """A row as plain values, for threads without a session."""

    key: str
    kind: str
    type: str
    size_bytes: int | None
    sha256: str | None
    etag: str | None = None
    damage: str | None = None
    replaced_by: str | None = None


FACTS = tuple(getattr(StoredObject, name) for name in Facts._fields)


@dataclass(frozen=True)
class Written:
    """An object that has been written to a bucket, and will have a row."""

    bucket: Bucket
    key: str
    kind: str
    type: str
    size_bytes: int
    sha256: str
    etag: str
    pipeline: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        fields = ("key", "kind", "type", "size_bytes", "sha256", "etag", "pipeline")
        return {"bucket": self.bucket.role} | {name: getattr(self, name) for name in fields}


class Damaged(Problem):
    """An object is missing from its bucket, or its bytes are not those that were stored. `code` is one of DAMAGES."""

    def __init__(self, bucket: Bucket, key: str, damage: str) -> None:
        super().__init__("The stored file of this photo is damaged.", code=damage, details={"key": key})
        self.bucket, self.key, self.damage = bucket, key, damage


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(bucket: Bucket, key: str, data: bytes, type: str, kind: str, pipeline: str | None = None) -> Written:
    """Write an object; its row is for the caller to record."""
    etag = bucket.put(key, data, type)
    return Written(bucket, key, kind, type, len(data), digest(data), etag, pipeline)


def find(bucket: Bucket, key: str) -> Facts | None:
    return facts(bucket, [key]).get(key)


def facts(bucket: Bucket, keys: Iterable[str]) -> dict[str, Facts]:
    """Return what is known of objects, by key. Objects without a row are absent."""
    found: dict[str, Facts] = {}
    for batch in _batches(keys):
        rows = select(*FACTS).where(StoredObject.bucket == bucket.role, StoredObject.key.in_(batch))
        found |= {row.key: Facts(*row) for row in db.session.execute(rows)}
    return found


def verified(bucket: Bucket, expected: Facts) -> bytes:
    """Read an object whole and compare it with its row. Raises Damaged, StorageFailed. Doesn't use the database.

    One that is larger than its row says is not read.
    """
    found = bucket.read(expected.key, most_bytes=expected.size_bytes)
    data = found.data if found else None
    if damage := LENGTH if found and data is None else damage_of(data, expected):
        raise Damaged(bucket, expected.key, damage)
    assert data is not None
    return data


def damage_in(bucket: Bucket, expected: Facts) -> str | None:
    """Read an object and return its damage, as `verified` finds it. Raises StorageFailed."""
    try:
        verified(bucket, expected)
    except Damaged as damaged:
        return damaged.damage
    return None


def damage_of(data: bytes | None, expected: Facts) -> str | None:
    """Compare bytes with what a row says; None if they are right, or the row has no hash yet."""
    if data is None:
        return MISSING
    if expected.size_bytes is not None and len(data) != expected.size_bytes:
        return LENGTH
    if expected.sha256 is not None and digest(data) != expected.sha256:
        return CHANGED
    return None


def record(written: Iterable[Written]) -> None:
    """Add rows of objects, in the commit that names them. No row of these keys may exist."""
    rows = [each.values for each in written]
    if rows:
        db.session.execute(insert(StoredObject), rows)


def remove(objects: Iterable[tuple[str, str]]) -> None:
    """Remove the rows of objects, given as bucket roles and keys."""
    for role, keys in _by_role(objects).items():
        for batch in _batches(keys):
            db.session.execute(
                delete(StoredObject)
                .where(StoredObject.bucket == role, StoredObject.key.in_(batch))
                .execution_options(synchronize_session=False)
            )


def forget(bucket: Bucket, keys: Iterable[str]) -> None:
    """Remove the rows of objects that are gone, but not of replaced ones, whose addresses redirect."""
    for batch in _batches(keys):
        ours = StoredObject.bucket == bucket.role, StoredObject.key.in_(batch), StoredObject.replaced_by.is_(None)
        db.session.execute(delete(StoredObject).where(*ours).execution_options(synchronize_session=False))


def predecessors(objects: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the objects that these had replaced, as bucket roles and keys."""
    found: list[tuple[str, str]] = []
    for role, keys in _by_role(objects).items():
        for batch in _batches(keys):
            replaced = select(StoredObject.key).where(
                StoredObject.bucket == role, StoredObject.replaced_by.is_not(None), StoredObject.replaced_by.in_(batch)
            )
            found += [(role, key) for key in db.session.scalars(replaced)]
    return found


def replace(bucket: Bucket, old_key: str, new_key: str) -> None:
    """Record that an object took another one's place, and the place of all that the other one had replaced.

    The damage of what was replaced is repaired with that.
    """
    ours = update(StoredObject).where(StoredObject.bucket == bucket.role)
    earlier = ours.where(StoredObject.replaced_by.is_not(None), StoredObject.replaced_by == old_key)
    values: dict[str, Any] = {"replaced_by": new_key, "damage": None, "damaged_at": None}
    for statement in (
        earlier.values(values),
        ours.where(StoredObject.key == old_key).values(values | {"replaced_at": now()}),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))


def mark(bucket: Bucket, damages: Mapping[str, str | None], at: datetime | None = None) -> None:
    """Record the damage of objects, by key; None clears it."""
    at = at or now()
    for damage in set(damages.values()):
        keys = [key for key, each in damages.items() if each == damage]
        for batch in _batches(keys):
            db.session.execute(
                update(StoredObject)
                .where(StoredObject.bucket == bucket.role, StoredObject.key.in_(batch))
                .values(damage=damage, damaged_at=at if damage else None)
                .execution_options(synchronize_session=False)
            )


def confirm(bucket: Bucket, right: Iterable[Facts]) -> None:
    """Record that the bytes of objects were compared and are right; rows without a hash adopt theirs.

    A row that has got another hash meanwhile is left alone, and so is one that another change has locked: waiting for
    a thousand rows could deadlock with a deletion that locks some of them in another order.
    """
    known = {each.key: each for each in right}
    ours = select(StoredObject.key).where(StoredObject.bucket == bucket.role).with_for_update(skip_locked=True)
    free = [key for batch in _batches(known) for key in db.session.scalars(ours.where(StoredObject.key.in_(batch)))]
    rows = [{f"new_{name}": value for name, value in known[key]._asdict().items()} for key in free]
    if not rows:
        return
    table = cast(Table, StoredObject.__table__)
    this = update(table).where(table.c.bucket == bucket.role, table.c.key == bindparam("new_key"))
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("etag", "size_bytes", "type")}
    values |= {"verified_at": now(), "damage": None, "damaged_at": None}
    adopted = values | {"sha256": bindparam("new_sha256"), "is_adopted": True}
    connection = db.session.connection()
    connection.execute(this.where(table.c.sha256.is_(None)).values(adopted), rows)
    connection.execute(this.where(table.c.sha256 == bindparam("new_sha256")).values(values), rows)


def set_etag(bucket: Bucket, key: str, etag: str) -> None:
    """Record the ETag of an object whose bytes have just been compared."""
    ours = update(StoredObject).where(StoredObject.bucket == bucket.role, StoredObject.key == key)
    values = {"etag": etag, "verified_at": now(), "damage": None, "damaged_at": None}
    db.session.execute(ours.values(values).execution_options(synchronize_session=False))


def damaged_among(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys whose objects are known to be damaged."""
    return set(
        db.session.scalars(
            select(StoredObject.key).where(
                StoredObject.bucket == bucket.role, StoredObject.key.in_(keys), StoredObject.damage.is_not(None)
            )
        )
    )


def replaced_among(bucket: Bucket, keys: Sequence[str]) -> set[str]:
    """Return those of the keys whose objects were replaced, and are kept under their old address."""
    replaced = select(StoredObject.key).where(StoredObject.bucket == bucket.role, StoredObject.key.in_(keys))
    return set(db.session.scalars(replaced.where(StoredObject.replaced_at.is_not(None))))


def expire_replaced(bucket: Bucket, before: datetime, most: int) -> list[str]:
    """Give up the objects that were replaced before a moment; return their keys. Their rows stay, to redirect."""
    ours = StoredObject.bucket == bucket.role, StoredObject.replaced_by.is_not(None)
    old = select(StoredObject.key).where(*ours, StoredObject.replaced_at < before).limit(most)
    keys = list(db.session.scalars(old))
    db.session.execute(update(StoredObject).where(*ours, StoredObject.key.in_(keys)).values(replaced_at=None))
    return keys


def _by_role(objects: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for role, key in objects:
        keys.setdefault(role, []).append(key)
    return keys


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, MAX_KEYS)):
        yield batch
