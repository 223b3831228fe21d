"""Uploads: we presign a PUT, the client PUTs the file into the bucket, and a confirm makes it an image."""

from portal.images.uploads.cancellation import cancel
from portal.images.uploads.confirmation import ConfirmedUpload, UploadedFile, confirm
from portal.images.uploads.presigning import (
    CONFIRMABLE_FOR,
    MAX_FILE_NAME_LENGTH,
    MAX_SIZE_BYTES,
    OUTSTANDING_PER_PLAN,
    TYPES,
    AnnouncedFile,
    ReservedUpload,
    find_upload,
    presign,
    url_of,
)

__all__ = [
    "CONFIRMABLE_FOR",
    "MAX_FILE_NAME_LENGTH",
    "MAX_SIZE_BYTES",
    "OUTSTANDING_PER_PLAN",
    "TYPES",
    "AnnouncedFile",
    "ConfirmedUpload",
    "ReservedUpload",
    "UploadedFile",
    "cancel",
    "confirm",
    "find_upload",
    "presign",
    "url_of",
]
