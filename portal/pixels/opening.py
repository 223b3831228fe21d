"""The one place where Pillow is shown a file, and only as the type that its bytes said."""

import warnings
from collections.abc import Callable
from io import BytesIO

import pi_heif
from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (registers them)

from portal.pixels import containers, isobmff, jpeg
from portal.pixels.refused import MAX_PIXELS, MAX_SIDE_PX, Refused, refusing, too_many_pixels

_MIN_LIBHEIF = (1, 22)  # older ones read outside their memory on crafted grids: CVE-2026-32740
_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/heic": "HEIF",
    "image/avif": "AVIF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}
_SPLITS: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "image/jpeg": jpeg.split,
    "image/png": containers.split_png,
    "image/webp": containers.split_webp,
    "image/heic": isobmff.split,
    "image/avif": isobmff.split,
    "image/gif": containers.split_gif,
}
_UNREADABLE_MODES = {"F", "I"}  # numbers without a stated range: measurements, not photos


def split(data: bytes, type_: str) -> tuple[bytes, bytes]:
    """Return (what makes the pixels, the EXIF); raise `Refused` where the file is cut off or flooded."""
    parts = _SPLITS.get(type_)
    return parts(data) if parts else (data, b"")


def opened(pixels: bytes, type_: str) -> Image.Image:
    """Open by the header, decoding nothing; raise `Refused` past the limits of `refused`."""
    with refusing():
        try:
            image = Image.open(BytesIO(pixels), formats=[_FORMATS[type_]])
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise too_many_pixels() from error
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE_PX:
        raise too_many_pixels()
    if image.mode in _UNREADABLE_MODES:
        raise Refused("unsupported_type", "The file holds measurements rather than a photo.")
    return image


def _register_heif() -> None:
    version = pi_heif.libheif_info()["libheif"]
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_LIBHEIF:
        raise ImportError(f"libheif {version} is too old: 1.22 or later is needed")
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


_register_heif()
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # so that formats which allocate while opening stop before they do
warnings.filterwarnings("ignore", module=r"PIL\.")  # a crafted TIFF writes 60,000 of them into the log
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a child has one core and a limit on the memory of its threads
