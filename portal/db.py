"""The database: session, shared column types, and SQLite's transactions."""

import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, Dialect, Engine, Integer, MetaData, event, inspect, select
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.types import TypeDecorator

from portal.config import Settings

NAMES = {  # every constraint has a name, so that a migration can drop it in any database
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


db = SQLAlchemy(model_class=Base, disable_autonaming=True)

KEPT_CONNECTIONS = 3  # to PostgreSQL, by an idle process
OTHER_CONNECTIONS = 6  # of the cache's threads and the readiness checks
BUSY_TIMEOUT_S = 10  # how long a change waits for SQLite's write lock
RETRY_EVERY_S = 0.002
_write_queue = threading.Lock()  # this process's changes queue here for the write lock

writing: ContextVar[bool] = ContextVar("writing", default=False)
"""True inside work(): a transaction that begins there will write."""


def engine_options(settings: Settings) -> dict[str, Any]:
    """Return engine options: a connection for each thread; in PostgreSQL, UTC and a liveness check before use.

    PostgreSQL allows few connections, so most of them are closed when a burst is over.
    """
    most = settings.web_threads + settings.delivery_threads + OTHER_CONNECTIONS
    options: dict[str, Any] = {"pool_size": most, "max_overflow": 0, "pool_timeout": 10}
    options["hide_parameters"] = True  # keeps names, links and secrets out of logged errors
    if settings.database_url.startswith("postgresql"):
        options |= {"pool_size": KEPT_CONNECTIONS, "max_overflow": most - KEPT_CONNECTIONS}
        options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "options": "-c timezone=UTC"}}
    return options


def is_disk_full(error: BaseException) -> bool:
    """Return whether a statement failed because the database's disk is full."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return getattr(cause, "sqlstate", None) == "53100"  # PostgreSQL's disk_full


def release() -> None:
    """End the read transaction and return its connection to the pool, before something slow."""
    assert not writing.get(), "a change would be undone"
    assert not (db.session.new or db.session.dirty or db.session.deleted), "changes made outside work()"
    db.session.rollback()


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp in UTC. SQLite drops the time zone; this type restores it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite auto-increments only a column declared INTEGER.
Id = Annotated[int, mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)]
PublicId = Annotated[uuid.UUID, mapped_column(default=uuid.uuid4, unique=True)]
Moment = Annotated[datetime, mapped_column(UtcDateTime)]
NullableMoment = UtcDateTime().evaluates_none()
"""For a nullable timestamp whose default is now: without this, SQLAlchemy replaces an explicit None by the default."""


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Set SQLite up for several processes, and disable the driver's implicit BEGIN."""
    if type(connection).__module__.split(".")[0] != "sqlite3":
        return
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",  # so that a 201 is durable
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Any) -> None:
    """Take the write lock immediately in a transaction that will write.

    Measured: with a deferred BEGIN, 800 read-then-write transactions in 8 processes all "succeeded" and left the
    counter at 103; with BEGIN IMMEDIATE they leave it at 800.
    """
    if connection.dialect.name != "sqlite":
        return
    if writing.get():
        _take_write_lock(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_write_lock(connection: Any) -> None:
    """Begin a write transaction, first come, first served among the threads of this process.

    SQLite's busy handler is unfair: it polls with increasing delays, up to 100 ms, so newcomers overtake threads that
    have waited long, and of ten writing threads some wait for a second. Here threads queue for a lock, and the one that
    holds it polls every RETRY_EVERY_S.
    """
    raw, deadline = connection.connection.dbapi_connection, time.monotonic() + BUSY_TIMEOUT_S
    is_first = _write_queue.acquire(timeout=BUSY_TIMEOUT_S)
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while not _has_begun(raw):
            if not is_first or time.monotonic() > deadline:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises SQLAlchemy's error: database is locked
                return
            time.sleep(RETRY_EVERY_S)
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
        if is_first:
            _write_queue.release()


def _has_begun(connection: sqlite3.Connection) -> bool:
    """Try to begin a write transaction; return whether the lock was free."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def reload(rows: Sequence[Base], *options: ExecutableOption) -> None:
    """Refresh rows that a commit has expired, in one statement instead of one each."""
    if rows:
        model: Any = type(rows[0])
        ids = [cast(Any, inspect(row)).identity[0] for row in rows]
        db.session.scalars(select(model).where(model.id.in_(ids)).options(*options)).all()


NO_UUID = uuid.UUID(int=0)


def is_id(text: str) -> bool:
    """Return whether a text is a number that could be a row's id."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID


def is_storable(text: str) -> bool:
    """Return whether every database can store a text: PostgreSQL rejects NUL, and lone surrogates are not UTF-8."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def as_uuid(text: str) -> uuid.UUID:
    """Parse a public id that a client sent; for anything but a UUID return NO_UUID, which no row has."""
    try:
        return uuid.UUID(text) if len(text) <= 36 else NO_UUID  # uuid.UUID ignores any number of hyphens
    except ValueError:
        return NO_UUID


MAX_ID = 2**63 - 1
