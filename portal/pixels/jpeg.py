"""JPEG, marker by marker: which segments make its pixels, how many scans it has, whether its end marker is there."""

import re
from hashlib import sha256
from io import BytesIO

from PIL import Image

from portal.pixels.rejection import (
    MAX_ICC_BYTES,
    RejectedFile,
    damaged,
    decoder_errors_as_rejections,
    too_many_parts,
    truncated,
)

MAX_SCANS = 100  # measured: 1 MB with 8,010 scans takes 40 s of CPU; the most in 778 real JPEGs was 53
MAX_SEGMENTS = 2_000  # a profile takes up to 255, a depth map about 160, a scan rarely more than 5
_EOI = b"\xff\xd9"
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # excludes stuffed bytes, restart markers, fill bytes
_SOI, _END, _SCAN = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
# Frames, tables, scans, and JFIF and Adobe, which define the colour space. No other segment affects the pixels.
_PIXEL_SEGMENTS = {*range(0xC0, 0xC8), *range(0xC9, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, _APP0, _APP14}


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return (the segments that make the pixels, the EXIF); raise `RejectedFile` if the JPEG has no pixels.

    Decoders never get EXIF, XMP, comments or further pictures, so these can't be used for an attack. An end marker is
    added, in case it is missing (see `lacks_end_marker`).
    """
    whole = memoryview(data)
    kept, exif, icc_bytes, at = [whole[:2]], b"", 0, 2
    for _ in range(MAX_SEGMENTS):
        marker, start, at = _segment(data, at)
        if marker == _SCAN:
            return b"".join([*kept, whole[start:], _EOI]), exif
        profile = marker == _APP2 and data.startswith(_ICC, start + 4)
        if profile or marker in _PIXEL_SEGMENTS:
            kept.append(whole[start:at])
        elif marker == _APP1 and data.startswith(_EXIF, start + 4):
            exif = exif or data[start + 4 : at]
        icc_bytes += (at - start) * profile
        if icc_bytes > MAX_ICC_BYTES:
            raise RejectedFile("icc_too_large", "The picture's colour profile is too large.")
    raise too_many_parts()


def lacks_end_marker(pixels: bytes) -> bool:
    """Return whether a JPEG from `split` lacked its end marker; raise `RejectedFile` beyond MAX_SCANS."""
    scans, at = 0, 2
    for _ in range(MAX_SEGMENTS):
        marker, _, at = _segment(pixels, at)
        if marker == _END:
            return at == len(pixels)  # then it is the one that `split` added
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise RejectedFile("too_many_scans", f"The picture has more than {MAX_SCANS} scans.")
    raise too_many_parts()


def has_all_pixels(pixels: bytes) -> bool:
    """Return whether only the end marker was missing. Decodes the picture, so call it in a child.

    A decoder silently fills missing pixels with grey. But bytes inserted before the end marker change the picture only
    if its last scan was incomplete.
    """
    with decoder_errors_as_rejections():
        body = pixels.removesuffix(_EOI).removesuffix(b"\xff")
        return _pixel_digest(body + _EOI) == _pixel_digest(body + b"\x5a\xa5" * 512 + _EOI)


def strip(data: bytes, tags: bytes) -> bytes:
    """Return the JPEG with only the segments that make pixels and colours; `tags` replace its EXIF.

    It ends with the end marker, which is added if it is missing.
    """
    ended = data + _EOI
    whole = memoryview(ended)
    kept: list[bytes | memoryview] = [whole[:2]]
    at, in_scan = 2, False
    for _ in range(
        2 * MAX_SEGMENTS
    ):  # `split` and `lacks_end_marker` allow MAX_SEGMENTS before and from the first scan
        marker, start, end = _segment(ended, at)
        if in_scan:
            kept.append(whole[at:start])
        if marker == _END:
            return b"".join([*kept, _EOI])
        if tags and marker == _APP1 and ended.startswith(_EXIF, start + 4):
            kept.append(_segment_bytes(_APP1, _EXIF + tags))
            tags = b""
        else:
            kept.append(_clean_segment(marker, whole[start:end]))
        at, in_scan = end, marker == _SCAN
    raise too_many_parts()


def _clean_segment(marker: int, segment: memoryview) -> bytes | memoryview:
    """Return a segment without thumbnails or appended data; nothing for one that doesn't affect the look."""
    body = bytes(segment[4:16])
    if marker == _APP0:
        return _segment_bytes(_APP0, body + b"\0\0") if body.startswith(b"JFIF\0") and len(segment) >= 18 else b""
    if marker == _APP14:
        return _segment_bytes(_APP14, body) if body.startswith(b"Adobe") and len(body) == 12 else b""
    return segment if marker in _PIXEL_SEGMENTS or (marker == _APP2 and body == _ICC) else b""


def _segment_bytes(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (2 + len(body)).to_bytes(2) + body


def _pixel_digest(pixels: bytes) -> bytes:
    image = Image.open(BytesIO(pixels), formats=["JPEG"])
    return sha256(image.tobytes()).digest()


def _segment(data: bytes, at: int) -> tuple[int, int, int]:
    """Return (marker, start, end) of the next segment at or after `at`, skipping fill and junk."""
    found = _MARKER.search(data, at)
    if not found:
        raise truncated()
    start, marker = found.start(), data[found.start() + 1]
    if marker == _END:
        return marker, start, start + 2
    length = int.from_bytes(data[start + 2 : start + 4])
    if start + 2 + length > len(data):
        raise truncated()
    if length < 2 or marker == _SOI:
        raise damaged()
    return marker, start, start + 2 + length
