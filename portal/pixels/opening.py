"""Open files with Pillow, only here, and only as the type that was detected from their bytes."""

import warnings
from collections.abc import Callable
from io import BytesIO

import pi_heif
from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (registers them)

from portal.pixels import containers, isobmff, jpeg
from portal.pixels.rejection import MAX_PIXELS, MAX_SIDE_PX, RejectedFile, decoder_errors_as_rejections, too_many_pixels

_MIN_LIBHEIF = (1, 22)  # older versions read out of bounds in crafted grids: CVE-2026-32740
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
_UNREADABLE_MODES = {"F", "I"}  # values without a defined range: measurements, not photos


def split(data: bytes, type_: str) -> tuple[bytes, bytes]:
    """Return (the parts that make the pixels, the EXIF); raise RejectedFile if truncated or in too many parts."""
    parts = _SPLITS.get(type_)
    return parts(data) if parts else (data, b"")


def opened(pixels: bytes, type_: str) -> Image.Image:
    """Open a picture by its header, without decoding; raise `RejectedFile` beyond the limits in `rejection`."""
    with decoder_errors_as_rejections():
        try:
            image = Image.open(BytesIO(pixels), formats=[_FORMATS[type_]])
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise too_many_pixels() from error
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE_PX:
        raise too_many_pixels()
    if image.mode in _UNREADABLE_MODES:
        raise RejectedFile("unsupported_type", "The file holds measurements rather than a photo.")
    return image


def _register_heif() -> None:
    version = pi_heif.libheif_info()["libheif"]
    if tuple(int(part) for part in version.split(".")[:2]) < _MIN_LIBHEIF:
        raise ImportError(f"libheif {version} is too old: 1.22 or later is required")
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


_register_heif()
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # for formats that allocate memory while opening
warnings.filterwarnings("ignore", module=r"PIL\.")  # a crafted TIFF would log 60,000 warnings
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a child has one core, and its threads' memory counts against its limit
