"""Uploads: presigned by us, PUT into the bucket by the client, confirmed into images."""

from portal.images.uploads.cancellation import cancel
from portal.images.uploads.confirmation import Arrived, Confirmed, confirm
from portal.images.uploads.presigning import (
    CONFIRMABLE,
    MAX_FILE_NAME_LENGTH,
    MAX_SIZE_BYTES,
    OUTSTANDING_PER_PLAN,
    TYPES,
    Announced,
    Reserved,
    find_upload,
    presign,
    url_of,
)

__all__ = [
    "CONFIRMABLE",
    "MAX_FILE_NAME_LENGTH",
    "MAX_SIZE_BYTES",
    "OUTSTANDING_PER_PLAN",
    "TYPES",
    "Announced",
    "Arrived",
    "Confirmed",
    "Reserved",
    "cancel",
    "confirm",
    "find_upload",
    "presign",
    "url_of",
]
