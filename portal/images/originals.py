"""Read originals, and derive nothing from one that is not what was stored."""

from collections.abc import Callable

from portal.errors import Invalid
from portal.images.models import Image
from portal.infra import storage
from portal.inventory import CHANGED, MISSING, digest

LOST = {
    MISSING: "The original of this photo is missing from storage. Upload it again.",
    CHANGED: "The stored original of this photo is not the file that was uploaded. Upload it again.",
}


def read(key: str, sha256: str) -> bytes:
    """Return an original. Raises Invalid, with a key of LOST as its code, if it is gone or not what was stored."""
    data = storage.uploads.get(key)
    if data is None:
        raise Invalid(LOST[MISSING], code=MISSING)
    if digest(data) != sha256:
        raise Invalid(LOST[CHANGED], code=CHANGED)
    return data


def reader(image: Image) -> Callable[[], bytes]:
    """Return a function that reads an image's original as `read` does, in a thread without a session."""
    key, sha256 = image.original_key, image.sha256
    return lambda: read(key, sha256)
