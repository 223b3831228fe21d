"""Keys of objects in the buckets, and the public URLs of images.

The `uploads` bucket has the key layout of the Property Images API, whichever API an original came through; variants in
the `cdn` bucket have that of the Manage Property Images contract, "Storage Structure".
"""

import uuid
from dataclasses import dataclass

from portal import config
from portal.images.models import Image, ListedImage, Property
from portal.pixels.types import extension_of

RENDITION_WIDTHS = (320, 480, 640, 960, 1280, 2048)  # px


@dataclass(frozen=True)
class StoragePrefix:
    """The common prefix of a property's objects, as plain values, so that creating a key needs no database."""

    workspace_uuid: uuid.UUID
    property_uuid: uuid.UUID
    property_id: int

    @classmethod
    def of(cls, property: Property) -> "StoragePrefix":
        return cls(property.workspace.uuid, property.uuid, property.id)

    @property
    def prefix(self) -> str:
        """The Property Images API's `images/{userId}/{propertyId}/`; the userId is the workspace, for all members."""
        return f"images/{self.workspace_uuid}/{self.property_uuid}/"

    def upload_key(self, file_name: str, content_type: str) -> str:
        """Return a fresh key with the file name's extension if it fits the type, else the type's canonical one."""
        return f"{self.prefix}{uuid.uuid4()}.{extension_of(content_type, file_name)}"

    def original_key(self, type: str) -> str:
        """Return a fresh key in the same layout, which no presigned URL has ever covered."""
        return f"{self.prefix}{uuid.uuid4()}.{extension_of(type)}"

    def variant_keys(self) -> tuple[str, str]:
        """Return fresh keys for the large variant and the thumbnail of one version of an image."""
        stem = f"properties/{self.property_id}/{uuid.uuid4()}"
        return f"{stem}-lg.webp", f"{stem}-thumb.webp"


def uuid_in(key: str) -> uuid.UUID:
    """Return the uuid in a key. An image's id is the uuid in its public key, so a page contains it only once."""
    return uuid.UUID(key.rpartition("/")[2].partition(".")[0])


def rendition_key(image_uuid: uuid.UUID, width_px: int, type: str) -> str:
    return f"derived/{image_uuid}/{uuid.uuid4()}-{width_px}.{extension_of(type)}"


def image_url(image: Image | ListedImage, width_px: int | None = None) -> str:
    """Return the image's `url` in the Property Images API, served by `portal.delivery` as soon as it is confirmed."""
    url = f"{config.settings().images_url}/{image.key}"
    return f"{url}?w={width_px}" if width_px else url


def cdn_url(key: str) -> str:
    return f"{config.settings().cdn_url}/{key}"
