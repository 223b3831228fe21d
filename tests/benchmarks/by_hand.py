"""The same durable work as `presign` and `list`, written by hand twice, to show what the portal adds.

Once with SQLAlchemy Core, as an engineer would write these two routes alone, and once with the bare driver. Either:
one key lookup, one INCR in Redis, one transaction with synchronous=FULL, the same signature; no ORM, no scopes, no
validation, no idempotency, no response shapes per contract."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

from flask import Flask, Response, jsonify, request
from redis import Redis
from sqlalchemy import Connection, create_engine, func, insert, select

from portal.accounts.models import ApiKey
from portal.db import now, writing
from portal.images.models import Image, Property, Upload
from portal.infra import storage

WAITS_FOR = timedelta(hours=24)
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"


class Rows(Protocol):
    """The queries of the two routes."""

    def home_of(self, secret_sha256: str, ref: UUID) -> int: ...
    def images(self, home: int) -> Iterator[tuple[Any, str, str | None, int]]: ...
    def count(self, home: int) -> None: ...
    def reserve(self, home: int, key: str, said: list[Any]) -> None: ...


class Core:
    """With SQLAlchemy Core."""

    def __init__(self, connection: Connection) -> None:
        self._ask = connection.execute

    def home_of(self, secret_sha256: str, ref: UUID) -> int:
        key = select(ApiKey.workspace_id).where(ApiKey.secret_sha256 == secret_sha256, ApiKey.revoked_at.is_(None))
        workspace = self._ask(key).scalar_one()
        mine = select(Property.id).where(Property.workspace_id == workspace, Property.uuid == ref)
        return int(self._ask(mine).scalar_one())

    def images(self, home: int) -> Iterator[tuple[Any, str, str | None, int]]:
        listed = select(Image.uuid, Image.key, Image.alt_text, Image.position).where(Image.property_id == home)
        for row in self._ask(listed.order_by(Image.position)):
            yield row[0], row[1], row[2], row[3]

    def count(self, home: int) -> None:
        self._ask(select(func.count()).select_from(Image).where(Image.property_id == home)).scalar_one()
        mine = Upload.property_id == home, Upload.confirmed_at.is_(None), Upload.expires_at > now()
        self._ask(select(func.count()).select_from(Upload).where(*mine)).scalar_one()

    def reserve(self, home: int, key: str, said: list[Any]) -> None:
        at, (name, type, size) = now(), said
        row = {"uuid": uuid4(), "property_id": home, "key": key, "file_name": name, "content_type": type}
        row |= {"size_bytes": size, "created_at": at, "expires_at": at + WAITS_FOR}
        self._ask(insert(Upload).values(row))


class Driver:
    """With sqlite3 itself."""

    OUTSTANDING = "SELECT count(*) FROM upload WHERE property_id = ? AND confirmed_at IS NULL AND expires_at > ?"
    RESERVE = (
        "INSERT INTO upload (uuid, property_id, key, file_name, content_type, size_bytes, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )

    def __init__(self, database: sqlite3.Connection) -> None:
        self._ask = database.execute

    def home_of(self, secret_sha256: str, ref: UUID) -> int:
        key = "SELECT workspace_id FROM api_key WHERE secret_sha256 = ? AND revoked_at IS NULL"
        (workspace,) = self._ask(key, [secret_sha256]).fetchone()
        mine = "SELECT id FROM property WHERE workspace_id = ? AND uuid = ?"
        return int(self._ask(mine, [workspace, ref.hex]).fetchone()[0])

    def images(self, home: int) -> Iterator[tuple[Any, str, str | None, int]]:
        listed = "SELECT uuid, key, alt_text, position FROM image WHERE property_id = ? ORDER BY position"
        yield from self._ask(listed, [home])

    def count(self, home: int) -> None:
        self._ask("SELECT count(*) FROM image WHERE property_id = ?", [home]).fetchone()
        self._ask(self.OUTSTANDING, [home, str(now().replace(tzinfo=None))]).fetchone()

    def reserve(self, home: int, key: str, said: list[Any]) -> None:
        at = now().replace(tzinfo=None)
        self._ask(self.RESERVE, [uuid4().hex, home, key, *said, str(at), str(at + WAITS_FOR)])


def with_core(path: str, redis: Redis) -> Flask:
    engine = create_engine(f"sqlite:///{path}")

    @contextmanager
    def rows(begin: str) -> Iterator[Rows]:
        token = writing.set(begin == WRITE)  # portal.db begins the transactions of every engine
        try:
            with engine.connect() as connection:
                yield Core(connection)
                connection.commit()
        finally:
            writing.reset(token)

    return _app(rows, redis)


def with_driver(path: str, redis: Redis) -> Flask:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def rows(begin: str) -> Iterator[Rows]:
        database.execute(begin)
        yield Driver(database)
        database.execute("COMMIT")

    return _app(rows, redis)


def _app(rows: Any, redis: Redis) -> Flask:
    """A Flask app with the two routes at the portal's addresses."""
    hand = Flask("by_hand")

    def caller() -> str:
        secret = request.headers["Authorization"].removeprefix("Bearer ")
        redis.incr(f"by-hand:{secret}")
        return hashlib.sha256(secret.encode()).hexdigest()

    @hand.post("/api/v1/properties/<uuid:ref>/images/presign")
    def presign(ref: UUID) -> Response:
        body, key = request.get_json(), f"images/{ref}/{uuid4()}.jpg"
        said = [body["fileName"], body["contentType"], body["sizeBytes"]]
        with rows(WRITE) as found:
            home = found.home_of(caller(), ref)
            found.count(home)
            found.reserve(home, key, said)
        url = storage.uploads.presign_put(key, content_type=said[1], size_bytes=said[2])
        return jsonify(data={"uploadUrl": url, "r2Key": key, "maxImages": 20})

    @hand.get("/api/v1/properties/<uuid:ref>/images")
    def images(ref: UUID) -> Response:
        with rows(READ) as found:
            listed = [
                {"id": str(id), "url": f"http://localhost/{key}", "altText": text, "order": n}
                for id, key, text, n in found.images(found.home_of(caller(), ref))
            ]
        return jsonify(data=listed)

    return hand
