"""The same picture without what tells of its maker, its place and its time; no pixel is decoded or changed."""

from portal.pixels import containers, exif, isobmff, jpeg
from portal.pixels.opening import split
from portal.pixels.refused import refusing


def strip_metadata(data: bytes, type: str) -> bytes | None:
    """Return a picture that `inspect` accepted without EXIF, XMP, IPTC, comments, thumbnails and what trails behind.

    It looks as before: colours, frames and how it stands are kept, as metadata of nothing but that where need be.
    What has nothing to lose comes back as it is. None where we don't know how to part the two: a HEIC or AVIF
    that is built in an unusual way (`boxes.clean`), and types that the Image CDN doesn't take. Raises `Refused` where
    it is cut off.
    """
    with refusing():
        match type:
            case "image/jpeg":
                return jpeg.strip(data, _orientation_exif(data, type))
            case "image/png":
                return containers.strip_png(data, _orientation_exif(data, type))
            case "image/webp":
                return containers.strip_webp(data, _orientation_exif(data, type))
            case "image/gif":
                return containers.strip_gif(data)
            case "image/heic" | "image/avif":
                return isobmff.strip(data)
    return None


def _orientation_exif(data: bytes, type: str) -> bytes:
    """The one thing in EXIF that changes how a picture looks, alone; nothing for an upright one."""
    return exif.only(exif.orientation(split(data, type)[1]))
