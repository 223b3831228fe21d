"""Where things lie in the buckets, and under which URLs the world sees them (contract.md, X4 and X5)."""

import uuid
from dataclasses import dataclass

from portal import config
from portal.images.models import Image, Listed, Property
from portal.pixels.types import extension_of

LADDER = (320, 480, 640, 960, 1280, 2048)  # px, the widths that delivery makes


@dataclass(frozen=True)
class StoragePrefix:
    """Where a property's objects lie: plain values, so that naming a key asks the database nothing."""

    workspace_uuid: uuid.UUID
    property_uuid: uuid.UUID
    property_id: int

    @classmethod
    def of(cls, property: Property) -> "StoragePrefix":
        return cls(property.workspace.uuid, property.uuid, property.id)

    @property
    def prefix(self) -> str:
        """`images/{userId}/{propertyId}/` of seed B; the user is the workspace (X12)."""
        return f"images/{self.workspace_uuid}/{self.property_uuid}/"

    def upload_key(self, file_name: str, content_type: str) -> str:
        """A fresh key with the file name's extension where it fits the type, else the canonical one (B9)."""
        return f"{self.prefix}{uuid.uuid4()}.{extension_of(content_type, file_name)}"

    def original_key(self, type: str) -> str:
        """A fresh key in the same layout that no presigned URL has ever covered."""
        return f"{self.prefix}{uuid.uuid4()}.{extension_of(type)}"

    def variant_keys(self) -> tuple[str, str]:
        """Fresh keys for a large and a thumb of one content version: seed C, "Storage Structure"."""
        stem = f"properties/{self.property_id}/{uuid.uuid4()}"
        return f"{stem}-lg.webp", f"{stem}-thumb.webp"


def uuid_in(key: str) -> uuid.UUID:
    """The uuid that a key ends with: an image's id is the one in its public name, so that a page says each once."""
    return uuid.UUID(key.rpartition("/")[2].partition(".")[0])


def rendition_key(image_uuid: uuid.UUID, width_px: int, type: str) -> str:
    return f"derived/{image_uuid}/{uuid.uuid4()}-{width_px}.{extension_of(type)}"


def image_url(image: Image | Listed, width_px: int | None = None) -> str:
    """The image's URL in B: answered by delivery from the moment of the confirm."""
    url = f"{config.settings().images_url}/{image.key}"
    return f"{url}?w={width_px}" if width_px else url


def cdn_url(key: str) -> str:
    return f"{config.settings().cdn_url}/{key}"
