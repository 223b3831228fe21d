"""Which installation this is, and whether the buckets belong to it.

A restored copy of the database doesn't know the newer objects in the buckets and would delete them, although the live
installation uses them. So each installation has an id, stored in its database and in an object in each bucket, and
deletes objects only where the two match. A database that finds itself at another location is a copy and takes a new
id.
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

from portal import config
from portal.db import Base, Id, Moment, PublicId, db, now, writing
from portal.errors import StorageFailed
from portal.infra import storage
from portal.infra.encrypted import fingerprint

ROW_ID = 1
CHECK_EVERY = timedelta(seconds=60)
NOT_OURS = (
    "The buckets belong to another installation, and this database is or was a copy of that installation's: no file "
    "is deleted from them. If this is the live installation now, run: flask --app app claim-buckets"
)

CLUSTER_DATABASE_AND_TABLE = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()),"
    " (SELECT oid FROM pg_database WHERE datname = current_database()),"
    " 'installation'::regclass::oid"
)

log = logging.getLogger(__name__)


class Installation(Base):
    """This installation. The only row has the id ROW_ID, so of two concurrent inserts the second one fails."""

    __tablename__ = "installation"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    location_digest: Mapped[str] = mapped_column("place", String(64))  # of the database's location
    owns_buckets: Mapped[bool | None]  # as of `checked_at`; None: not known
    checked_at: Mapped[Moment | None]
    key_fingerprint: Mapped[str | None] = mapped_column(String(64))  # of the SECRET_KEY; None: no process has started


UPDATE = update(Installation).where(Installation.id == ROW_ID)


def owns_buckets() -> bool:
    """Return whether both buckets are known to be this installation's; otherwise nothing may be deleted from them.

    Asks the buckets at most once per CHECK_EVERY, even if they don't answer. Don't call this while the current thread
    holds the database's write lock.
    """
    with db.engine.connect() as connection:
        row = _row(connection)
        is_recent = row and row.checked_at and row.checked_at > now() - CHECK_EVERY
        is_known = row and is_recent and row.location_digest == _location_digest(connection)
    return bool(row.owns_buckets) if row and is_known else check() is True


def is_foreign(engine: Engine) -> bool:
    """Return whether the buckets belong to another installation, as of the last check. Calls no bucket."""
    with engine.connect() as connection:
        row = _row(connection)
    return row is not None and row.owns_buckets is False


def check() -> bool | None:
    """Return whether both buckets are ours, claiming one without an owner; None if a bucket doesn't answer."""
    own_id = _id()
    is_owner: bool | None
    try:
        is_owner = all(_owner(bucket, own_id) == str(own_id) for bucket in (storage.uploads, storage.cdn))
    except StorageFailed as error:
        log.warning("bucket ownership unknown, no file is deleted: reason=%s", error.details)
        is_owner = None
    if is_owner is False:
        log.error("%s", NOT_OURS)
    with _writing() as connection:
        connection.execute(UPDATE.values(owns_buckets=is_owner, checked_at=now()))
    return is_owner


def has_another_key() -> bool:
    """Return whether the database's secrets are encrypted with another SECRET_KEY; the first key is remembered."""
    own = fingerprint(config.settings().secret_key)
    _id()
    with _writing() as connection:
        connection.execute(UPDATE.where(Installation.key_fingerprint.is_(None)).values(key_fingerprint=own))
        return connection.scalar(select(Installation.key_fingerprint).where(Installation.id == ROW_ID)) != own


def adopt_secret_key() -> None:
    """Make this process's SECRET_KEY the installation's. What another one has encrypted must be entered again."""
    _id()
    with _writing() as connection:
        connection.execute(UPDATE.values(key_fingerprint=fingerprint(config.settings().secret_key)))


def claim_buckets() -> None:
    """Make both buckets this installation's, whoever owned them before. Raises StorageFailed."""
    own_id = _id()
    for bucket in (storage.uploads, storage.cdn):
        _write_owner(bucket, own_id)
    check()


def _owner(bucket: storage.Bucket, own_id: UUID) -> str:
    """Return the id of the bucket's owner; claim the bucket if it has none."""
    data = bucket.get(storage.OWNER_KEY)
    if data is None:
        _write_owner(bucket, own_id)
        data = bucket.get(storage.OWNER_KEY)
    return (data or b"").decode(errors="replace").strip()


def _write_owner(bucket: storage.Bucket, own_id: UUID) -> None:
    bucket.put(storage.OWNER_KEY, f"{own_id}\n".encode(), "text/plain")


def _id() -> UUID:
    """Return this installation's id, taking a new one if there is none yet or the database is at another location."""
    with _writing() as connection:
        row, digest = _row(connection), _location_digest(connection)
        if row and row.location_digest == digest:
            return cast(UUID, row.uuid)
        values = {"uuid": uuid4(), "location_digest": digest, "owns_buckets": None, "checked_at": None}
        connection.execute(UPDATE.values(values) if row else insert(Installation).values(id=ROW_ID, **values))
        return cast(UUID, values["uuid"])


def _row(connection: Connection) -> Row[UUID, str, bool | None, datetime | None] | None:
    columns = (
        Installation.uuid,
        Installation.location_digest.label("location_digest"),
        Installation.owns_buckets,
        Installation.checked_at,
    )
    return connection.execute(select(*columns).where(Installation.id == ROW_ID)).first()


@contextmanager
def _writing() -> Iterator[Connection]:
    """Open a write transaction, separate from the session's."""
    token = writing.set(True)
    try:
        with db.engine.begin() as connection:
            yield connection
    finally:
        writing.reset(token)


def _location_digest(connection: Connection) -> str:
    """Return a digest of the database's address and of identifiers that a restored dump does not keep."""
    url = connection.engine.url
    if connection.dialect.name == "sqlite":
        file = Path(url.database or "").resolve()
        facts = [str(file), str(file.stat().st_ino)]
    else:
        facts = [str(fact) for fact in connection.execute(CLUSTER_DATABASE_AND_TABLE).one()]
        facts += [str(url.host or url.query.get("host")), str(url.port), str(url.database)]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()
