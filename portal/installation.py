"""Which installation this is, and whether the buckets are its own.

A restored copy of the database knows the buckets' older objects only: whatever it deleted would be the live
installation's. So an installation has an id, in its database and in an object of each bucket, and deletes objects
only where the two agree. A database that finds itself elsewhere is a copy, and takes a new id.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, Row, String, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Id, Moment, PublicId, db, now, writing
from portal.errors import StorageFailed
from portal.infra import storage

ONLY_ID = 1
CHECK_EVERY = timedelta(seconds=60)
NOT_OURS = (
    "The buckets belong to another installation, of which this database is a copy or was one: no file is deleted "
    "from them. If this is the live installation now, run: flask --app app claim-buckets"
)

CLUSTER_DATABASE_AND_TABLE = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT oid FROM pg_database WHERE datname = current_database()),"
    " 'installation'::regclass::oid"
)

log = logging.getLogger(__name__)


class Installation(Base):
    """This installation, in the one row with ONLY_ID: of two that make it at once, the second fails."""

    __tablename__ = "installation"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    place: Mapped[str] = mapped_column(String(64))  # a digest of where its database lives
    owns_buckets: Mapped[bool | None]  # as of …; None: never asked
    checked_at: Mapped[Moment | None]


MINE = update(Installation).where(Installation.id == ONLY_ID)


def owns_buckets() -> bool:
    """Whether both buckets are known to be this installation's: else nothing is deleted from them.

    The buckets are asked once in CHECK_EVERY; so is one that doesn't answer. Not to be called where this thread has the
    database locked.
    """
    with db.engine.connect() as connection:
        row = _row(connection)
        is_known = row and row.checked_at and row.checked_at > now() - CHECK_EVERY and row.place == _place(connection)
    return bool(row.owns_buckets) if row and is_known else check() is True


def is_a_stranger(engine: Engine) -> bool:
    """Whether the buckets are known to be another installation's, by the last answer; no bucket is asked."""
    with engine.connect() as connection:
        row = _row(connection)
    return row is not None and row.owns_buckets is False


def check() -> bool | None:
    """Ask both buckets whose they are; one that is nobody's becomes ours. None where a bucket doesn't answer."""
    mine = _id()
    is_owner: bool | None
    try:
        is_owner = all(_owner(bucket, mine) == str(mine) for bucket in (storage.uploads, storage.cdn))
    except StorageFailed as error:
        log.warning("it can't be told whose the buckets are (%s): no file is deleted from them", error.details)
        is_owner = None
    if is_owner is False:
        log.error("%s", NOT_OURS)
    with _writing() as connection:
        connection.execute(MINE.values(owns_buckets=is_owner, checked_at=now()))
    return is_owner


def claim_buckets() -> None:
    """Make both buckets this installation's, whoever had them. Raises StorageFailed."""
    mine = _id()
    for bucket in (storage.uploads, storage.cdn):
        _mark(bucket, mine)
    check()


def _owner(bucket: storage.Bucket, mine: UUID) -> str:
    data = bucket.get(storage.OWNER_KEY)
    if data is None:
        _mark(bucket, mine)
        data = bucket.get(storage.OWNER_KEY)
    return (data or b"").decode(errors="replace").strip()


def _mark(bucket: storage.Bucket, mine: UUID) -> None:
    bucket.put(storage.OWNER_KEY, f"{mine}\n".encode(), "text/plain")


def _id() -> UUID:
    """Return the id; a new one where there is none yet, or where the database was copied from another place."""
    with _writing() as connection:
        row, place = _row(connection), _place(connection)
        if row and row.place == place:
            return cast(UUID, row.uuid)
        mine = {"uuid": uuid4(), "place": place, "owns_buckets": None, "checked_at": None}
        connection.execute(MINE.values(mine) if row else insert(Installation).values(id=ONLY_ID, **mine))
        return cast(UUID, mine["uuid"])


def _row(connection: Connection) -> Row[UUID, str, bool | None, datetime | None] | None:
    columns = (Installation.uuid, Installation.place, Installation.owns_buckets, Installation.checked_at)
    return connection.execute(select(*columns).where(Installation.id == ONLY_ID)).first()


@contextmanager
def _writing() -> Iterator[Connection]:
    """A transaction of its own, beside the session's."""
    token = writing.set(True)
    try:
        with db.engine.begin() as connection:
            yield connection
    finally:
        writing.reset(token)


def _place(connection: Connection) -> str:
    """Digest where the database lives: its address, and what restoring a dump makes anew even under the same one."""
    url = connection.engine.url
    if connection.dialect.name == "sqlite":
        file = Path(url.database or "").resolve()
        facts = [str(file), str(file.stat().st_ino)]
    else:
        facts = [str(fact) for fact in connection.execute(CLUSTER_DATABASE_AND_TABLE).one()]
        facts += [str(url.host or url.query.get("host")), str(url.port), str(url.database)]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()
