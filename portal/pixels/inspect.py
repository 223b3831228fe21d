"""What are these bytes, and may we open them? Reads headers only; no pixel is decoded."""

import threading

from portal.errors import TooMany
from portal.pixels import exif, jpeg, sandbox
from portal.pixels.opening import opened, split
from portal.pixels.picture import Picture
from portal.pixels.refused import Refused, truncated
from portal.pixels.sniff import sniff

__all__ = ["Refused", "inspect"]

_STANDS_UPRIGHT = {"image/heic", "image/tiff"}  # their decoders turn them


DECODES_AT_ONCE = 2
WAIT_FOR_DECODE_S = 5
_decodes = threading.BoundedSemaphore(DECODES_AT_ONCE)


def inspect(data: bytes) -> Picture:
    """Say what picture `data` is, from its bytes alone; raise `Refused` if it may not be opened.

    Which types a caller takes is the caller's business. A JPEG without its end marker is decoded
    in a limited child, to tell a lost marker (fine) from lost pixels (`truncated`).
    """
    type_ = sniff(data)
    pixels, tags = split(data, type_)
    image = opened(pixels, type_)
    if type_ == "image/jpeg" and jpeg.is_unfinished(pixels) and not _has_all_pixels(pixels):
        raise truncated()
    held = 1 if type_ in _STANDS_UPRIGHT else exif.orientation(tags or image.info.get("exif", b""))
    width, height = image.size if held < 5 else image.size[::-1]
    return Picture(type_, width, height, held)


def _has_all_pixels(pixels: bytes) -> bool:
    """Decode, a few at a time: many at once would take the memory and the time of everything else."""
    if not _decodes.acquire(timeout=WAIT_FOR_DECODE_S):
        raise TooMany("Too many unusual photos at once. Try again in a moment.", retry_after_s=5)
    try:
        return sandbox.run(jpeg.has_all_pixels, pixels, cpu_s=5, memory_bytes=1024**3, timeout_s=20)
    finally:
        _decodes.release()
