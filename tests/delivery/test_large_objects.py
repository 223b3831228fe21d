"""Large objects are streamed, with ranges and validators, and only if they are what was stored."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from portal import inventory
from portal.db import db
from portal.infra import storage
from portal.inventory import COPY, StoredObject
from portal.listings import catalogue
from portal.work import work

BIG = bytes(range(256)) * 4096 * 5  # 5 MiB
BIG_KEY = "5f0f3ac1-93f1-4d4a-9e4b-0a4f2f6a7c11/0b0bb9ae-34a5-4c6f-8f0a-d8d4e8d7a0b2/gallery/0_" + "a" * 32 + ".png"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def big(app: Flask, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(catalogue, "is_referenced", lambda key: True)
    with work() as w:
        w.put(storage.cdn, BIG_KEY, BIG, "image/png", COPY)
    return f"/cdn/{BIG_KEY}"


def test_a_large_object_is_streamed_with_ranges(client: FlaskClient, big: str) -> None:
    whole = client.get(big)
    assert (whole.status_code, whole.content_length, whole.data) == (200, len(BIG), BIG)
    part = client.get(big, headers={"Range": "bytes=5-9", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.data) == (206, BIG[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(BIG)}"
    assert client.get(big, headers={"Range": "bytes=-3"}).data == BIG[-3:]
    assert client.get(big, headers={"Range": "bytes=5-9", "If-Range": '"other"'}).data == BIG
    beyond = client.get(big, headers={"Range": f"bytes={len(BIG)}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(BIG)}")
    assert client.get(big, headers={"If-Match": whole.headers["ETag"]}).status_code == 200
    assert client.get(big, headers={"If-Match": '"other"'}).status_code == 412


def test_a_large_object_that_is_known_to_be_damaged_is_not_streamed(client: FlaskClient, big: str) -> None:
    """Also if the bucket still gives it the same ETag, after its bytes have rotted."""
    with work():
        inventory.mark(storage.cdn, {BIG_KEY: inventory.CHANGED})
    assert client.get(big).status_code == 503


def test_a_large_object_under_another_etag_is_served_only_if_its_bytes_are_right(client: FlaskClient, big: str) -> None:
    with work():
        db.session.execute(update(StoredObject).where(StoredObject.key == BIG_KEY).values(etag='"moved"'))
    assert client.get(big).data == BIG
    facts = inventory.find(storage.cdn, BIG_KEY)
    assert facts and facts.etag != '"moved"'
    storage.cdn.put(BIG_KEY, BIG[::-1], "image/png")
    assert client.get(big).status_code == 503
