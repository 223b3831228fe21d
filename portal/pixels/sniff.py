"""Detect a file's type from its first bytes, never from its name or a stated type."""

from portal.pixels.rejection import RejectedFile

_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def sniff(data: bytes) -> str:
    """Return the media type of `data`; raise `RejectedFile` if it is empty or of no supported type."""
    if not data:
        raise RejectedFile("empty", "The file is empty.")
    for magic, type_ in _MAGIC.items():
        if data.startswith(magic):
            return type_
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _branded(data)
    raise RejectedFile("not_an_image", "The file is not an image of a supported type.")


def _branded(data: bytes) -> str:
    """Return HEIC or AVIF, which share a container, by the first known brand, the major brand first."""
    end = min(int.from_bytes(data[:4]), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "image/avif"
        if brand in _HEIC_BRANDS:
            return "image/heic"
    raise RejectedFile("unsupported_type", "This type of file is not supported.")
