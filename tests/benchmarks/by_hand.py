"""The same durable work as `presign` and `list`, written by hand: what is left above it is ours.

One SQLite transaction with synchronous=FULL, one INCR in Redis, the same signature; no ORM, no scopes, no
validation, no idempotency, no dialect.
"""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import timedelta
from uuid import uuid4

from flask import Flask, Response, jsonify, request
from redis import Redis

from portal import storage
from portal.db import now

OUTSTANDING = "SELECT count(*) FROM upload WHERE property_id = ? AND confirmed_at IS NULL AND expires_at > ?"
RESERVE = (
    "INSERT INTO upload (uuid, property_id, key, file_name, content_type, size_bytes, created_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def app(path: str, redis: Redis) -> Flask:
    """A Flask app on the portal's own database file, with the two routes at the portal's own addresses."""
    hand = Flask("by_hand")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")

    def home_of(ref: str) -> int:
        secret = request.headers["Authorization"].removeprefix("Bearer ")
        redis.incr(f"by-hand:{secret}")
        key = "SELECT workspace_id FROM api_key WHERE secret_sha256 = ? AND revoked_at IS NULL"
        (workspace,) = database.execute(key, [hashlib.sha256(secret.encode()).hexdigest()]).fetchone()
        mine = "SELECT id FROM property WHERE workspace_id = ? AND uuid = ?"
        return int(database.execute(mine, [workspace, ref.replace("-", "")]).fetchone()[0])

    @hand.post("/api/v1/properties/<ref>/images/presign")
    def presign(ref: str) -> Response:
        body, at = request.get_json(), now().replace(tzinfo=None)
        key = f"images/{ref}/{uuid4()}.jpg"
        database.execute("BEGIN IMMEDIATE")
        home = home_of(ref)
        database.execute("SELECT count(*) FROM image WHERE property_id = ?", [home]).fetchone()
        database.execute(OUTSTANDING, [home, str(at)]).fetchone()
        said = [body["fileName"], body["contentType"], body["sizeBytes"]]
        database.execute(RESERVE, [uuid4().hex, home, key, *said, str(at), str(at + timedelta(hours=24))])
        database.execute("COMMIT")
        url = storage.uploads.presign_put(key, content_type=said[1], size_bytes=said[2])
        return jsonify(data={"uploadUrl": url, "r2Key": key, "maxImages": 20})

    @hand.get("/api/v1/properties/<ref>/images")
    def images(ref: str) -> Response:
        listed = "SELECT uuid, key, alt_text, position FROM image WHERE property_id = ? ORDER BY position"
        rows = database.execute(listed, [home_of(ref)])
        return jsonify(
            data=[
                {"id": id, "url": f"http://localhost/{key}", "altText": text, "order": n} for id, key, text, n in rows
            ]
        )

    return hand
