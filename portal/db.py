"""The database: one session, shared column types, and how SQLite's transactions begin."""

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

NAMES = {  # every constraint has a name, so that a migration can drop it on any database
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


db = SQLAlchemy(model_class=Base, disable_autonaming=True)

LOCKED_S = 10  # how long a change waits for the write lock of SQLite
LOOK_AGAIN_S = 0.002
_line = threading.Lock()  # where this process' changes wait for it

writing: ContextVar[bool] = ContextVar("writing", default=False)
"""True inside work(): what begins there will write."""


def engine_options(settings: Settings) -> dict[str, Any]:
    """A connection for each thread that may want one; on PostgreSQL in UTC, and known to live before it is used."""
    options: dict[str, Any] = {"pool_size": settings.web_threads, "max_overflow": 4, "pool_timeout": 10}
    options["hide_parameters"] = True  # an error in the log tells no name, no link and no secret
    if settings.database_url.startswith("postgresql"):
        options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "options": "-c timezone=UTC"}}
    return options


def release() -> None:
    """Give the connection back before something slow: no transaction stays open meanwhile."""
    assert not writing.get(), "a change would be undone"
    assert not (db.session.new or db.session.dirty or db.session.deleted), "changes made outside work()"
    db.session.rollback()


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets time zones; this gives them back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts rows up by itself only in a column declared INTEGER.
Id = Annotated[int, mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)]
PublicId = Annotated[uuid.UUID, mapped_column(default=uuid.uuid4, unique=True)]
Moment = Annotated[datetime, mapped_column(UtcDateTime)]
MomentOrNever = UtcDateTime().evaluates_none()
"""For a moment that is now by default, and may be none: without this, SQLAlchemy takes a None for not said."""


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Set SQLite up for several processes (reliability.md, decision 10) and take BEGIN into our own hands."""
    if type(connection).__module__.split(".")[0] != "sqlite3":
        return
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={LOCKED_S * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",  # a 201 is durable
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


@event.listens_for(Engine, "begin")
def _begin_sqlite(connection: Any) -> None:
    """Take the write lock at once where something will be written.

    With a deferred BEGIN, 800 read-then-write transactions from 8 processes all "succeeded" and the
    counter stood at 103; with IMMEDIATE it stands at 800.
    """
    if connection.dialect.name != "sqlite":
        return
    if writing.get():
        _take_write_lock(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_write_lock(connection: Any) -> None:
    """Begin to write, once those who came before have.

    SQLite's own waiting is unfair: it looks ever more seldom, in the end every 100 ms, so whoever has waited long is
    passed by whoever comes, and some of ten threads that write wait for a second. Here they stand in line, and the
    first of each process looks often.
    """
    raw, gives_up_at = connection.connection.dbapi_connection, time.monotonic() + LOCKED_S
    is_first = _line.acquire(timeout=LOCKED_S)
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while not _begins(raw):
            if not is_first or time.monotonic() > gives_up_at:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # raises as SQLAlchemy does: the database is locked
                return
            time.sleep(LOOK_AGAIN_S)
    finally:
        raw.execute(f"PRAGMA busy_timeout={LOCKED_S * 1000}")
        if is_first:
            _line.release()


def _begins(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def read_anew(rows: Sequence[Base], *options: ExecutableOption) -> None:
    """Read rows that a commit has expired in one statement; each would be read by itself when it is used."""
    if rows:
        model: Any = type(rows[0])
        ids = [cast(Any, inspect(row)).identity[0] for row in rows]
        db.session.scalars(select(model).where(model.id.in_(ids)).options(*options)).all()


NO_UUID = uuid.UUID(int=0)


def is_id(text: str) -> bool:
    """Whether this is a number that a row could have."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID)) and int(text) <= MAX_ID


def is_storable(text: str) -> bool:
    """Whether every database can keep this text: PostgreSQL knows no NUL, and half a surrogate pair is no text."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def as_uuid(text: str) -> uuid.UUID:
    """Read a public id as a client sent it; what is no UUID becomes one that no row has."""
    try:
        return uuid.UUID(text) if len(text) <= 36 else NO_UUID  # uuid.UUID overlooks any number of dashes
    except ValueError:
        return NO_UUID


MAX_ID = 2**63 - 1
