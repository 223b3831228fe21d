"""The other containers, part by part: PNG chunks, WebP chunks, GIF blocks, the boxes of HEIC and AVIF."""

from portal.pixels.refused import MAX_PARTS, too_many_parts, truncated

_PNG_MAKES_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP"}
_GIF_FRAME_SETTINGS = 0xF9  # the graphic control extension: transparency


def split_png(data: bytes) -> tuple[bytes, bytes]:
    """Return (the PNG without what makes no pixels, its EXIF); raise `Refused` where it is cut off.

    Text that unpacks to gigabytes and the further frames of an APNG are never shown to a decoder.
    """
    whole = memoryview(data)
    kept, exif, at = [whole[:8]], b"", 8
    for _ in range(MAX_PARTS):
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if end > len(data):
            raise truncated()
        if name in _PNG_MAKES_PIXELS:
            kept.append(whole[at:end])
        elif name == b"eXIf":
            exif = data[at + 8 : end - 4]
        if name == b"IEND":
            return b"".join(kept), exif
        at = end
    raise too_many_parts()


def split_webp(data: bytes) -> tuple[bytes, bytes]:
    """Return (the WebP, its EXIF); raise `Refused` where it is cut off."""
    exif, at, end = b"", 12, 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return data, exif
        size_bytes = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            exif = data[at + 8 : at + 8 + size_bytes]
        at += 8 + size_bytes + size_bytes % 2
    raise too_many_parts()


def split_gif(data: bytes) -> tuple[bytes, bytes]:
    """Return (the GIF without the comments before its first frame, no EXIF); raise `Refused` if cut off."""
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)  # header and palette
    kept, start, inside = [data[:at]], at, False
    for _ in range(MAX_PARTS):
        if at >= len(data):
            break
        if inside:  # an extension: blocks that begin with their length, until one of length 0
            inside = data[at] > 0
            at += 1 + data[at]
            if not inside and data[start + 1] == _GIF_FRAME_SETTINGS:
                kept.append(data[start:at])
        elif data[at] == ord("!"):
            start, at, inside = at, at + 2, True
        else:
            return b"".join([*kept, data[at:]]), b""
    raise truncated() if at >= len(data) else too_many_parts()


def split_boxes(data: bytes) -> tuple[bytes, bytes]:
    """Return (the HEIC or AVIF, no EXIF: its own boxes say how it stands); raise `Refused` where cut off."""
    at, seen = 0, set[bytes]()
    for _ in range(MAX_PARTS):
        if at + 8 > len(data) or {b"meta", b"mdat"} <= seen:
            return data, b""  # what trails behind a whole picture is nobody's business
        size_bytes, header_bytes = int.from_bytes(data[at : at + 4]), 8
        if size_bytes == 1:
            size_bytes, header_bytes = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size_bytes == 0:
            size_bytes = len(data) - at
        if size_bytes < header_bytes or at + size_bytes > len(data):
            raise truncated()
        seen.add(data[at + 4 : at + 8])
        at += size_bytes
    raise too_many_parts()
