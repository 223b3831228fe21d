"""Remove metadata from a picture, such as place, time and camera, without decoding or changing its pixels."""

from portal.pixels import containers, exif, isobmff, jpeg
from portal.pixels.opening import split
from portal.pixels.rejection import decoder_errors_as_rejections, interrupted, memory_errors_as


def strip_metadata(data: bytes, type: str) -> bytes | None:
    """Return an inspected picture without EXIF, XMP, IPTC, comments, thumbnails and trailing data.

    Its look is unchanged: colours, frames and orientation are kept, the latter as EXIF that holds nothing else. A
    picture without metadata is returned as it is. Returns None if metadata can't be separated from the pixels: for a
    HEIC or AVIF with an unusual structure (`isobmff.strip`), and for types that the Image CDN doesn't accept. Raises
    `RejectedFile` if the file is truncated, or if the process has no memory left.
    """
    with memory_errors_as(interrupted), decoder_errors_as_rejections():
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
    """Return EXIF holding only the orientation, or nothing if the image is upright."""
    return exif.only(exif.orientation(split(data, type)[1]))
