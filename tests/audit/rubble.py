"""A small gallery with one object of each kind, and ways to damage them behind the portal's back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import select, update

from portal import inventory
from portal.audit.lease import Options, leased
from portal.audit.models import AuditFinding, AuditWalk
from portal.audit.run import Run
from portal.audit.walk import advance
from portal.db import db
from portal.images.models import Image, Property
from portal.images.variants import renditions
from portal.infra import storage
from portal.infra.storage import Bucket
from portal.inventory import COPY, LARGE, ORIGINAL, RENDITION, THUMB, StoredObject
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.images.galleries import finished
from tests.listings import stays

Place = tuple[Bucket, str]


@dataclass
class Gallery:
    """A photo with a rendition, another photo, and a copy; the keys of the first photo's objects by kind."""

    home: Property
    image_id: int
    objects: dict[str, Place]

    @property
    def image(self) -> Image:
        return db.session.get_one(Image, self.image_id, populate_existing=True)

    def bytes_of(self) -> dict[str, bytes | None]:
        return {kind: bucket.get(key) for kind, (bucket, key) in self.objects.items()}


def gallery(home: Property) -> Gallery:
    first, _ = finished(home, 2)
    image = db.session.get_one(Image, first)
    rendition = renditions.best(image, frozenset(), 320)
    image = db.session.get_one(Image, first)
    copy = stays.copied(stays.listed(home.workspace, pictures=1), factories.jpeg(40, 30))
    objects = {
        ORIGINAL: (storage.uploads, image.original_key),
        LARGE: (storage.cdn, image.large_key or ""),
        THUMB: (storage.cdn, image.thumb_key or ""),
        RENDITION: (storage.cdn, rendition.key),
        COPY: (storage.cdn, copy.key or ""),
    }
    db.session.rollback()
    return Gallery(home, first, objects)


def delete(bucket: Bucket, key: str) -> None:
    bucket.delete(key)


def cut(bucket: Bucket, key: str) -> None:
    bucket.put(key, (bucket.get(key) or b"")[:50], type_of(bucket, key))


def spoil(bucket: Bucket, key: str) -> None:
    """Change a byte, not the length."""
    data = bucket.get(key) or b""
    bucket.put(key, data[:-20] + b"?" + data[-19:], type_of(bucket, key))


def retype(bucket: Bucket, key: str) -> None:
    bucket.put(key, bucket.get(key) or b"", "text/html")


def replace(bucket: Bucket, key: str) -> None:
    """Put something else there, of the same length and another type."""
    bucket.put(key, b"<" + b" " * (len(bucket.get(key) or b"") - 1), "text/html")


HARM: dict[str, Callable[[Bucket, str], None]] = {"missing": delete, "length": cut, "changed": spoil, "type": retype}


def type_of(bucket: Bucket, key: str) -> str:
    found = bucket.head(key)
    return (found and found.type) or ""


def audit(app: Flask, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code, and its JSON object if it printed one."""
    result = app.test_cli_runner().invoke(args=["audit", "--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    db.session.rollback()
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}


def walked(**options: Any) -> AuditWalk:
    """Walk in this process, to the end."""
    with leased(Options(**options)) as lease:
        assert advance(Run(lease))
    return db.session.get_one(AuditWalk, lease.walk_id, populate_existing=True)


def found(walk: AuditWalk) -> list[tuple[Any, ...]]:
    """What a walk found and did, without ids and times."""
    of = AuditFinding
    columns = of.kind, of.object, of.bucket, of.key, of.image_uuid, of.repaired, of.how, of.reason
    rows = db.session.execute(select(*columns).where(of.walk_id == walk.id).order_by(of.bucket.desc(), of.key))
    return [tuple(row) for row in rows]


def subscribe(home: Property, *events: str) -> Callable[[], list[dict[str, Any]]]:
    """Subscribe to events; return a function that reads those emitted so far."""
    endpoints.create(home.workspace, "https://hooks.example/", list(events))

    def emitted() -> list[dict[str, Any]]:
        db.session.rollback()
        bodies = db.session.scalars(select(Delivery.body).order_by(Delivery.id))
        return [json.loads(body) for body in bodies]

    return emitted


def row_of(place: Place) -> StoredObject:
    bucket, key = place
    return db.session.get_one(StoredObject, (bucket.role, key), populate_existing=True)


def damages() -> dict[str, str]:
    rows = select(StoredObject.kind, StoredObject.damage).where(StoredObject.damage.is_not(None))
    return {kind: damage or "" for kind, damage in db.session.execute(rows)}


def right(gallery: Gallery, kind: str) -> bool:
    bucket, key = gallery.objects[kind]
    facts = inventory.find(bucket, key)
    db.session.rollback()
    return facts is not None and inventory.damage_of(bucket.get(key), facts) is None


def images(home: Property) -> list[Image]:
    return list(db.session.scalars(select(Image).where(Image.property_id == home.id).order_by(Image.position)))


def set_row(place: Place, **values: Any) -> None:
    bucket, key = place
    with work():
        mine = update(StoredObject).where(StoredObject.bucket == bucket.role, StoredObject.key == key)
        db.session.execute(mine.values(values))


def store_older(key: str) -> None:
    """As if a variant had been made by an earlier pipeline: nothing that is made today has its bytes."""
    data = (storage.cdn.get(key) or b"") + b"\0\0"
    storage.cdn.put(key, data, "image/webp")
    set_row((storage.cdn, key), sha256=inventory.digest(data), size_bytes=len(data))
