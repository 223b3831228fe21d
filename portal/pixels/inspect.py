"""Find out what picture some bytes are, and whether it may be opened, from its headers alone."""

import threading

from portal.errors import TooMany
from portal.pixels import exif, jpeg, sandbox
from portal.pixels.opening import opened, split
from portal.pixels.picture import Picture
from portal.pixels.rejection import RejectedFile, interrupted, memory_errors_as, truncated
from portal.pixels.sniff import sniff

__all__ = ["RejectedFile", "inspect"]

_ROTATED_BY_DECODER = {"image/heic", "image/tiff"}  # their decoders apply the orientation

MAX_CONCURRENT_DECODES = 2
WAIT_FOR_DECODE_S = 5
_decodes = threading.BoundedSemaphore(MAX_CONCURRENT_DECODES)


def inspect(data: bytes) -> Picture:
    """Return the type, size and orientation of a picture; raise `RejectedFile` if it may not be opened.

    The caller decides which types it accepts. Only a JPEG without an end marker is decoded, in a sandboxed child: a
    lost marker is accepted, lost pixels are refused (`truncated`). Raises TooMany if too many such photos wait.
    """
    with memory_errors_as(interrupted):
        return _inspect(data)


def _inspect(data: bytes) -> Picture:
    type_ = sniff(data)
    pixels, tags = split(data, type_)
    image = opened(pixels, type_)
    if type_ == "image/jpeg" and jpeg.lacks_end_marker(pixels) and not _has_all_pixels(pixels):
        raise truncated()
    orientation = 1 if type_ in _ROTATED_BY_DECODER else exif.orientation(tags or image.info.get("exif", b""))
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Picture(type_, width, height, orientation)


def _has_all_pixels(pixels: bytes) -> bool:
    """Decode in a child, at most MAX_CONCURRENT_DECODES at a time: other requests need memory and CPU too."""
    if not _decodes.acquire(timeout=WAIT_FOR_DECODE_S):
        raise TooMany("Too many unusual photos are being checked. Try again in a moment.", retry_after_s=5)
    try:
        return sandbox.run(jpeg.has_all_pixels, pixels, cpu_s=5, memory_bytes=1024**3, timeout_s=20)
    finally:
        _decodes.release()
