"""Presign and confirm: how a file becomes an image without passing through us twice."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select

from portal import jobs, storage
from portal.db import db, now
from portal.errors import Conflict, Invalid, NotFound, Problem, TooMany
from portal.images import gallery, keys
from portal.images.models import Image, Property, Upload
from portal.pixels.inspect import Picture, inspect
from portal.work import Work, lock, quietly, work

MAX_SIZE_BYTES = 10 * 1024 * 1024  # seed B: "Max 10 MB (10 * 1024 * 1024)"
TYPES = ("image/jpeg", "image/png", "image/webp", "image/heic")  # seed B
MAX_FILE_NAME_LENGTH = 255  # seed B: "Max 255 chars"
CONFIRMABLE = timedelta(hours=24)  # reliability.md, C8: uploaded in time, confirmed later
OUTSTANDING_PER_PLAN = 3  # contract.md, B1: unconfirmed uploads a property may have, as a multiple of its quota


@dataclass(frozen=True)
class Arrived:
    """What a client says of a file that it has PUT."""

    key: str
    content_type: str
    size_bytes: int
    alt_text: str | None = None


class Confirmed(NamedTuple):
    """The image that an upload became; not new where it had been confirmed before."""

    image: Image
    is_new: bool


@dataclass(frozen=True)
class Announced:
    """A file as its client describes it, before any byte came."""

    file_name: str
    content_type: str
    size_bytes: int


def presign(property: Property, files: Sequence[Announced]) -> list[Upload]:
    """Reserve a key for each file; `url_of` gives the PUT that fills it. All or none.

    Raises Invalid for a type, size or name that could never be confirmed, OverQuota where the plan has no
    room (nothing is reserved by a presign: the confirm counts again), TooMany with too many outstanding.
    """
    for index, file in enumerate(files):
        _check(file, index)
    with work():
        if not lock(property):
            raise NotFound("There is no such property.")
        gallery.demand_room(property, len(files))
        _demand_few_outstanding(property, len(files))
        where = keys.Place.of(property)
        uploads = [
            Upload(
                property_id=property.id,
                key=where.upload_key(file.file_name, file.content_type),
                file_name=file.file_name,
                content_type=file.content_type,
                size_bytes=file.size_bytes,
                expires_at=now() + CONFIRMABLE,
            )
            for file in files
        ]
        db.session.add_all(uploads)
    return uploads


def url_of(upload: Upload) -> str:
    """A presigned PUT that takes exactly the announced type and size, for an hour from now (B7, B8)."""
    return storage.uploads.presign_put(upload.key, content_type=upload.content_type, size_bytes=upload.size_bytes)


def find_upload(property: Property, key: str) -> Upload | None:
    return db.session.scalar(select(Upload).where(Upload.property_id == property.id, Upload.key == key))


def confirm(property: Property, arrivals: Sequence[Arrived], *, added_by: str = "") -> list[Confirmed]:
    """Make images of uploads that have arrived, all or none; what was confirmed before is found again.

    The bytes that were inspected are written again under a key that no presigned URL covers, so whatever a
    client still does with its URL, nobody sees it (reliability.md, decision 1). Raises Invalid with the
    index of the one that can't be used, OverQuota, Conflict, StorageFailed.
    """
    expected = [_look_up(property, arrived, index) for index, arrived in enumerate(arrivals)]
    where = keys.Place.of(property)
    with work() as w:
        # No statement before the lock: the transaction begins there, and the fetching is over by then.
        received = [_receive(w, where, upload, index) for index, upload in enumerate(expected)]
        if not lock(property):
            raise NotFound("There is no such property.", code="property_not_found")
        confirmed = [
            _accept(w, property, arrived, found, index, added_by)
            for index, (arrived, found) in enumerate(zip(arrivals, received, strict=True))
        ]
        if any(new for _, new in confirmed):
            gallery.tell(w, property)
    return confirmed


@dataclass(frozen=True)
class _Expected:
    """An Upload's columns as plain values: reading an expired row would begin the transaction too early."""

    key: str
    content_type: str
    size_bytes: int
    image_uuid: UUID | None


@dataclass(frozen=True)
class _Received:
    """Inspected bytes, safe under a key of our own."""

    original_key: str
    picture: Picture
    sha256: str


def _look_up(property: Property, arrived: Arrived, index: int) -> _Expected:
    """Find what was presigned, by the client's words alone: nothing is asked of the bucket yet."""
    gallery.checked_alt_text(arrived.alt_text)
    upload = find_upload(property, arrived.key)
    if upload is None:
        raise _refused("unknown_key", "No upload of this property has that key.", index)
    if (upload.content_type, upload.size_bytes) != (arrived.content_type, arrived.size_bytes):
        raise _refused("differs_from_presigned", "The type or size is not the one that was presigned.", index)
    return _Expected(upload.key, upload.content_type, upload.size_bytes, upload.image_uuid)


def _receive(w: Work, where: keys.Place, upload: _Expected, index: int) -> _Received | Problem | None:
    """Read, inspect and keep the bytes; None for an upload that has been confirmed before.

    Missing bytes are a Problem, raised under the lock only: a confirm of the same moment may have had them.
    """
    if upload.image_uuid:
        return None
    data = _read(upload, index)
    if isinstance(data, Problem):
        return data
    try:
        picture = inspect(data)
    except Invalid as error:
        raise _refused(error.code, error.message, index) from error
    if picture.type != upload.content_type:
        quietly(storage.uploads.delete, upload.key)
        raise _refused("content_mismatch", f"The file is {picture.type}, not {upload.content_type}.", index)
    original_key = where.original_key(picture.type)
    w.put(storage.uploads, original_key, data, picture.type)
    return _Received(original_key, picture, hashlib.sha256(data).hexdigest())


def _read(upload: _Expected, index: int) -> bytes | Problem:
    """Read exactly the object that the bucket describes: another PUT meanwhile makes it a Conflict."""
    found = storage.uploads.head(upload.key)
    if found is None:
        return _refused("not_uploaded", "Nothing has been uploaded under this key yet.", index)
    if found.size_bytes != upload.size_bytes or found.type != upload.content_type:
        quietly(storage.uploads.delete, upload.key)
        raise _refused("content_mismatch", "What was uploaded has another type or size than was presigned.", index)
    data = storage.uploads.get(upload.key, etag=found.etag)
    if data is None or len(data) != upload.size_bytes:
        return Conflict("The file changed while it was being confirmed. Confirm it again.", code="upload_changed")
    return data


def _accept(
    w: Work,
    property: Property,
    arrived: Arrived,
    received: _Received | Problem | None,
    index: int,
    added_by: str,
) -> Confirmed:
    """Turn an upload into an image, or find the one it became. Under the property's lock."""
    upload = find_upload(property, arrived.key)
    if upload is None:
        raise _refused("unknown_key", "No upload of this property has that key.", index)
    if isinstance(received, Problem) and not upload.image_uuid:
        raise received
    if upload.image_uuid or not isinstance(received, _Received):
        w.drop(storage.uploads, received.original_key if isinstance(received, _Received) else None)
        image = db.session.scalar(select(Image).where(Image.uuid == upload.image_uuid))
        if image is None:
            raise _refused("already_used", "This upload became a photo that has been deleted since.", index)
        return Confirmed(image, is_new=False)
    image = _image(property, upload, received)
    image.alt_text, image.added_by = gallery.checked_alt_text(arrived.alt_text), added_by
    gallery.append(property, image)
    upload.confirmed_at, upload.image_uuid = now(), image.uuid
    w.drop(storage.uploads, upload.key)
    w.enqueue(jobs.make_variants(image.id))
    return Confirmed(image, is_new=True)


def _image(property: Property, upload: Upload, received: _Received) -> Image:
    return Image(
        property_id=property.id,
        key=upload.key,
        original_key=received.original_key,
        file_name=upload.file_name,
        type=received.picture.type,
        size_bytes=upload.size_bytes,
        width=received.picture.width,
        height=received.picture.height,
        sha256=received.sha256,
    )


def _check(file: Announced, index: int) -> None:
    if file.content_type not in TYPES:
        raise _refused("content_type_not_allowed", f"A photo's type is one of {', '.join(TYPES)}.", index)
    if not 1 <= file.size_bytes <= MAX_SIZE_BYTES:
        code = "too_large" if file.size_bytes > 0 else "empty"
        raise _refused(code, f"A photo has 1 byte to {MAX_SIZE_BYTES} bytes (10 MB).", index)
    if not 1 <= len(file.file_name) <= MAX_FILE_NAME_LENGTH:
        raise _refused("file_name", f"A file name has 1 to {MAX_FILE_NAME_LENGTH} characters.", index)


def _demand_few_outstanding(property: Property, wanted: int) -> None:
    waiting = select(func.count()).where(
        Upload.property_id == property.id, Upload.confirmed_at.is_(None), Upload.expires_at > now()
    )
    most = OUTSTANDING_PER_PLAN * gallery.room(property).limit
    if (db.session.scalar(waiting) or 0) + wanted > most:
        raise TooMany(
            f"This property has {most} uploads that were never confirmed. Confirm them, or wait until they expire.",
            retry_after_s=3600,
            code="too_many_outstanding",
        )


def _refused(code: str, message: str, index: int) -> Invalid:
    return Invalid(message, code=code, details={"index": index})
