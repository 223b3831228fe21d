"""Chunked containers: PNG chunks, WebP chunks, GIF blocks."""

import zlib
from collections.abc import Iterator

from portal.pixels.rejection import MAX_PARTS, too_many_parts, truncated

MAX_GIF_BLOCKS = 1_000_000  # a block has at most 255 bytes, so 50 MB have 200,000

_PNG_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP"}
_PNG_COLOURS = {b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP", b"mDCV", b"cLLI", b"bKGD", b"pHYs"}
_PNG_FRAMES = {b"acTL", b"fcTL", b"fdAT"}
_PNG_VISIBLE = _PNG_PIXEL_CHUNKS | _PNG_COLOURS | _PNG_FRAMES
_WEBP_VISIBLE = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04  # flags of VP8X
_GIF_FRAME_SETTINGS, _GIF_APPLICATION = 0xF9, 0xFF  # the former is the graphic control extension
_GIF_VISIBLE = {b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"}  # application extensions: loop count, colour profile


def split_png(data: bytes) -> tuple[bytes, bytes]:
    """Return (the chunks that make the pixels, the EXIF); raise `RejectedFile` if the PNG is truncated.

    So no decoder gets text that unpacks to gigabytes, or an APNG's further frames.
    """
    whole = memoryview(data)
    kept, exif = [whole[:8]], b""
    for name, start, end in _png_chunks(data):
        if name in _PNG_PIXEL_CHUNKS:
            kept.append(whole[start:end])
        elif name == b"eXIf":
            exif = data[start + 8 : end - 4]
    return b"".join(kept), exif


def strip_png(data: bytes, tags: bytes) -> bytes:
    """Return the PNG with only the chunks that affect its look, frames included; `tags` replace its EXIF."""
    whole = memoryview(data)
    kept: list[bytes | memoryview] = [whole[:8]]
    for name, start, end in _png_chunks(data):
        if name in _PNG_VISIBLE:
            kept.append(whole[start:end])
        elif name == b"eXIf" and tags:
            kept.append(len(tags).to_bytes(4) + name + tags + zlib.crc32(name + tags).to_bytes(4))
            tags = b""
    return b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each chunk up to IEND, inclusive."""
    at = 8
    for _ in range(MAX_PARTS):
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            raise truncated()
        yield name, at, end
        if name == b"IEND":
            return
        at = end
    raise too_many_parts()


def split_webp(data: bytes) -> tuple[bytes, bytes]:
    """Return (the WebP, its EXIF); raise `RejectedFile` if it is truncated."""
    exif = b""
    for name, start, end in _webp_chunks(data):
        if name == b"EXIF":
            exif = data[start + 8 : end]
    return data, exif


def strip_webp(data: bytes, tags: bytes) -> bytes:
    """Return the WebP with only the chunks that affect its look, frames included; `tags` replace its EXIF."""
    whole = memoryview(data)
    kept: list[bytes | memoryview] = []
    flags = _WEBP_HAS_EXIF | _WEBP_HAS_XMP
    for name, start, end in _webp_chunks(data):
        if name in _WEBP_VISIBLE:
            kept.append(whole[start:end])
        elif name == b"EXIF" and tags:
            kept.append(name + len(tags).to_bytes(4, "little") + tags)
            tags, flags = b"", _WEBP_HAS_XMP
    if kept and kept[0][:4] == b"VP8X":
        kept[0] = bytes(kept[0][:8]) + bytes([kept[0][8] & ~flags]) + bytes(kept[0][9:])
    size_bytes = 4 + sum(map(len, kept))
    return b"".join([b"RIFF", size_bytes.to_bytes(4, "little"), b"WEBP", *kept])


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, end) of each chunk within the size that the RIFF header states."""
    at, end = 12, 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return
        size_bytes = int.from_bytes(data[at + 4 : at + 8], "little")
        start, at = at, at + 8 + size_bytes + size_bytes % 2
        yield data[start : start + 4], start, min(at, end)
    raise too_many_parts()


def split_gif(data: bytes) -> tuple[bytes, bytes]:
    """Return (the GIF without comments before its first frame, no EXIF); raise `RejectedFile` if it is truncated."""
    at = _gif_start(data)
    kept, start, inside = [data[:at]], at, False
    for _ in range(MAX_PARTS):
        if at >= len(data):
            break
        if inside:  # an extension: length-prefixed blocks, until one of length 0
            inside = data[at] > 0
            at += 1 + data[at]
            if not inside and data[start + 1] == _GIF_FRAME_SETTINGS:
                kept.append(data[start:at])
        elif data[at] == ord("!"):
            start, at, inside = at, at + 2, True
        else:
            return b"".join([*kept, data[at:]]), b""
    raise truncated() if at >= len(data) else too_many_parts()


def strip_gif(data: bytes) -> bytes:
    """Return the GIF with only its frames and their playback settings; a missing trailer is added."""
    whole, begin = memoryview(data), _gif_start(data)
    if begin > len(data):
        raise truncated()
    kept = [whole[:begin]]
    for start, end in _gif_parts(data):
        is_frame = data[start] == ord(",") or data[start + 1] == _GIF_FRAME_SETTINGS
        if is_frame or (data[start + 1] == _GIF_APPLICATION and data[start + 3 : start + 14] in _GIF_VISIBLE):
            kept.append(whole[start:end])
    return b"".join([*kept, b";"])


def _gif_parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each extension and frame: a header, then length-prefixed blocks."""
    at, start, inside = _gif_start(data), 0, False
    for _ in range(MAX_GIF_BLOCKS):
        if at >= len(data) or (data[at] == ord(";") and not inside):
            break
        if inside:
            inside = data[at] > 0
            at += 1 + data[at]
            if not inside:
                yield start, at
        elif data[at] == ord("!"):
            start, at, inside = at, at + 2, True
        elif data[at] == ord(","):
            start, at, inside = at, at + 11 + _palette_bytes(data, at + 9), True
        else:  # a stray byte, which decoders skip
            at += 1
    else:
        raise too_many_parts()
    if inside:
        raise truncated()


def _gif_start(data: bytes) -> int:
    return 13 + _palette_bytes(data, 10)


def _palette_bytes(data: bytes, at: int) -> int:
    """Return the size of the palette that the flags at this offset announce."""
    return 3 << (data[at] & 7) + 1 if len(data) > at and data[at] & 0x80 else 0
