"""Read originals, and derive nothing from one that is not what was stored."""

import logging
from collections.abc import Callable, Sequence

from portal import inventory
from portal.errors import Invalid
from portal.images.models import READY, Image
from portal.infra import storage
from portal.inventory import CHANGED, MISSING, digest

log = logging.getLogger(__name__)

LOST = {
    MISSING: "The original of this photo is missing from storage. Upload it again.",
    CHANGED: "The stored original of this photo is not the file that was uploaded. Upload it again.",
}


class OriginalLost(Invalid):
    """A photo's original is missing from storage, or is not what was stored.

    `damage` is a key of LOST, `name` the name of the photo's file, for a message about one of several photos.
    """

    code = "original_lost"

    def __init__(self, damage: str, name: str = "") -> None:
        super().__init__(LOST[damage])
        self.damage, self.name = damage, name


def read(key: str, sha256: str, name: str = "") -> bytes:
    """Return an original. Raises OriginalLost if it is gone or not what was stored."""
    data = storage.uploads.get(key)
    damage = MISSING if data is None else CHANGED if digest(data) != sha256 else None
    if damage:
        log.warning("original lost: key=%s damage=%s", key, damage)
        raise OriginalLost(damage, name)
    assert data is not None
    return data


def reader(image: Image) -> Callable[[], bytes]:
    """Return a function that reads an image's original as `read` does, in a thread without a session."""
    key, sha256, name = image.original_key, image.sha256, image.file_name
    return lambda: read(key, sha256, name)


def lost_among(images: Sequence[Image]) -> set[int]:
    """Return the ids of ready images whose original is known to be damaged or was restored from the large variant.

    Takes one statement.
    """
    ready = [image for image in images if image.variants == READY]
    damaged = inventory.damaged_among(storage.uploads, [image.original_key for image in ready]) if ready else set()
    return {image.id for image in ready if image.original_restored_at or image.original_key in damaged}
