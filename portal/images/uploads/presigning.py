"""Presign: reserve a key for each announced file, and sign a PUT that accepts exactly that file."""

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

# These three: Property Images API, "Get Presigned Upload URL".
MAX_SIZE_BYTES = 10 * 1024 * 1024
TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")
MAX_FILE_NAME_LENGTH = 255
CONFIRMABLE_FOR = timedelta(hours=24)  # longer than the URL is valid: a file PUT in time may be confirmed later
OUTSTANDING_PER_PLAN = 3  # how many unconfirmed uploads a property may have, as a multiple of its plan's images

OUTSTANDING = select(func.count()).where(  # built once, since every presign uses it
    Upload.property_id == bindparam("property_id"),
    Upload.confirmed_at.is_(None),
    Upload.refusal.is_(None),
    Upload.expires_at > bindparam("at"),
)


@dataclass(frozen=True)
class AnnouncedFile:
    """A file as the client describes it, before uploading it."""

    file_name: str
    content_type: str
    size_bytes: int


class ReservedUpload(NamedTuple):
    """A key reserved for one PUT: the values of its Upload row."""

    key: str
    file_name: str
    content_type: str
    size_bytes: int


def presign(property: Property, files: Sequence[AnnouncedFile]) -> list[ReservedUpload]:
    """Reserve a key for each file, all or none; `url_of` returns the PUT's URL.

    Raises Invalid for a type, size or name that could never be confirmed, OverQuota if the plan has no room (a presign
    doesn't reserve room: the confirm counts again), TooMany if too many uploads are unconfirmed, DiskFull.
    """
    for index, file in enumerate(files):
        _check(file, index)
    storage.uploads.demand_room()
    with work():
        if not lock(property):
            raise NotFound("There is no such property.", code="property_not_found")
        limit = gallery.require_quota(property, len(files)).limit
        _check_outstanding(property, len(files), OUTSTANDING_PER_PLAN * limit)
        prefix = keys.StoragePrefix.of(property)
        reserved = [
            ReservedUpload(
                prefix.upload_key(file.file_name, file.content_type), file.file_name, file.content_type, file.size_bytes
            )
            for file in files
        ]
        common = {"property_id": property.id, "expires_at": now() + CONFIRMABLE_FOR}
        db.session.execute(insert(Upload), [{**each._asdict(), **common} for each in reserved])
    return reserved


def url_of(upload: Upload | ReservedUpload) -> str:
    """Return a URL, valid for an hour, that accepts a PUT of exactly the announced type and size."""
    return storage.uploads.presign_put(upload.key, content_type=upload.content_type, size_bytes=upload.size_bytes)


def find_upload(property: Property, key: str) -> Upload | None:
    return db.session.scalar(select(Upload).where(Upload.property_id == property.id, Upload.key == key))


def _check(file: AnnouncedFile, index: int) -> None:
    if file.content_type not in TYPES:
        raise refused("content_type_not_allowed", f"A photo's type must be one of {', '.join(TYPES)}.", index)
    if not 1 <= file.size_bytes <= MAX_SIZE_BYTES:
        code = "too_large" if file.size_bytes > 0 else "empty"
        raise refused(code, f"A photo must have 1 to {MAX_SIZE_BYTES} bytes (10 MB).", index)
    if not (1 <= len(file.file_name) <= MAX_FILE_NAME_LENGTH and is_storable(file.file_name)):
        raise refused("file_name", f"A file name must have 1 to {MAX_FILE_NAME_LENGTH} characters.", index)


def _check_outstanding(property: Property, wanted: int, most: int) -> None:
    if (db.session.scalar(OUTSTANDING, {"property_id": property.id, "at": now()}) or 0) + wanted > most:
        raise TooMany(
            f"This property has {most} uploads that were never confirmed. Confirm them, or wait until they expire.",
            retry_after_s=3600,
            code="too_many_outstanding",
        )
