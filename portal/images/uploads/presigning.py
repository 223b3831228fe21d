"""Presign: a key is reserved for each announced file, and a PUT that takes exactly that file."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, func, insert, select

from portal.db import db, is_storable, now
from portal.errors import NotFound, TooMany
from portal.images import gallery, keys
from portal.images.models import Property, Upload
from portal.images.uploads.verification import refused
from portal.infra import storage
from portal.work import lock, work

MAX_SIZE_BYTES = 10 * 1024 * 1024  # seed B: "Max 10 MB (10 * 1024 * 1024)"
TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")  # seed B
MAX_FILE_NAME_LENGTH = 255  # seed B: "Max 255 chars"
CONFIRMABLE = timedelta(hours=24)  # reliability.md, C8: uploaded in time, confirmed later
OUTSTANDING_PER_PLAN = 3  # contract.md, B1: unconfirmed uploads a property may have, as a multiple of its quota

OUTSTANDING = select(func.count()).where(  # built once, as every presign asks it
    Upload.property_id == bindparam("property_id"), Upload.confirmed_at.is_(None), Upload.expires_at > bindparam("at")
)


@dataclass(frozen=True)
class Announced:
    """A file as its client describes it, before any byte came."""

    file_name: str
    content_type: str
    size_bytes: int


class Reserved(NamedTuple):
    """A key that waits for one PUT; its row, an Upload, says the same."""

    key: str
    file_name: str
    content_type: str
    size_bytes: int


def presign(property: Property, files: Sequence[Announced]) -> list[Reserved]:
    """Reserve a key for each file; `url_of` gives the PUT that fills it. All or none.

    Raises Invalid for a type, size or name that could never be confirmed, OverQuota where the plan has no
    room (nothing is reserved by a presign: the confirm counts again), TooMany with too many outstanding.
    """
    for index, file in enumerate(files):
        _check(file, index)
    with work():
        if not lock(property):
            raise NotFound("There is no such property.", code="property_not_found")
        limit = gallery.demand_room(property, len(files)).limit
        _demand_few_outstanding(property, len(files), OUTSTANDING_PER_PLAN * limit)
        prefix = keys.StoragePrefix.of(property)
        reserved = [
            Reserved(
                prefix.upload_key(file.file_name, file.content_type), file.file_name, file.content_type, file.size_bytes
            )
            for file in files
        ]
        common = {"property_id": property.id, "expires_at": now() + CONFIRMABLE}
        db.session.execute(insert(Upload), [{**each._asdict(), **common} for each in reserved])
    return reserved


def url_of(upload: Upload | Reserved) -> str:
    """A presigned PUT that takes exactly the announced type and size, for an hour from now (B7, B8)."""
    return storage.uploads.presign_put(upload.key, content_type=upload.content_type, size_bytes=upload.size_bytes)


def find_upload(property: Property, key: str) -> Upload | None:
    return db.session.scalar(select(Upload).where(Upload.property_id == property.id, Upload.key == key))


def _check(file: Announced, index: int) -> None:
    if file.content_type not in TYPES:
        raise refused("content_type_not_allowed", f"A photo's type is one of {', '.join(TYPES)}.", index)
    if not 1 <= file.size_bytes <= MAX_SIZE_BYTES:
        code = "too_large" if file.size_bytes > 0 else "empty"
        raise refused(code, f"A photo has 1 byte to {MAX_SIZE_BYTES} bytes (10 MB).", index)
    if not (1 <= len(file.file_name) <= MAX_FILE_NAME_LENGTH and is_storable(file.file_name)):
        raise refused("file_name", f"A file name has 1 to {MAX_FILE_NAME_LENGTH} characters.", index)


def _demand_few_outstanding(property: Property, wanted: int, most: int) -> None:
    if (db.session.scalar(OUTSTANDING, {"property_id": property.id, "at": now()}) or 0) + wanted > most:
        raise TooMany(
            f"This property has {most} uploads that were never confirmed. Confirm them, or wait until they expire.",
            retry_after_s=3600,
            code="too_many_outstanding",
        )
