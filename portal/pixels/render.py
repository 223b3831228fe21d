"""Render pictures: upright, in sRGB, never enlarged, without metadata. Resampled first, then rotated and converted.

Converting to sRGB before resampling would take four times as long.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from portal.pixels.colour import resizable, to_srgb
from portal.pixels.opening import opened, split
from portal.pixels.picture import Picture
from portal.pixels.placeholder import placeholder
from portal.pixels.rejection import damaged, decoder_errors_as_rejections

LARGE_PX = 2048  # the large variant fits 2048 x 2048; the Manage Property Images contract leaves the sizes open
THUMB_PX = 480  # the thumbnail fits 480 x 480
MIN_SIZE_RATIO = 0.875  # a large of 1,792 to 2,048 px is not resampled: most phone photos halve to 2,000 or 2,016
# Measured: method 4 takes 2.4 x the CPU for 4 % fewer bytes.
LARGE: dict[str, Any] = {"quality": 81, "method": 2}
THUMB: dict[str, Any] = {"quality": 80, "method": 4}
ON_DEMAND: dict[str, dict[str, Any]] = {
    "image/webp": LARGE,
    "image/jpeg": {"quality": 82, "progressive": True},  # progressive: 6 % fewer bytes for 20 ms
    # The same SSIM as LARGE in 14 % fewer bytes, for 1.2 x its CPU; speed 8: another 4 % for 4 x the CPU
    "image/avif": {"quality": 67, "speed": 9, "max_threads": 1},
}
_ENCODERS = {"image/webp": "WEBP", "image/jpeg": "JPEG", "image/avif": "AVIF"}
_REDUCING_GAP = 2.0  # 3 takes 2.6 x as long and looks the same
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,  # Pillow rotates counter-clockwise
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_AFTER_QUARTER_TURN = {1: 6, 6: 3, 3: 8, 8: 1, 2: 7, 7: 4, 4: 5, 5: 2}  # orientation → after a clockwise quarter turn


@dataclass(frozen=True)
class Rendition:
    """An encoded form of an image."""

    data: bytes
    width: int
    height: int
    type: str


@dataclass(frozen=True)
class Rendered:
    """Both variants of an original. `width` and `height` are its full size, as displayed."""

    large: Rendition
    thumb: Rendition
    placeholder: int
    width: int
    height: int


def render(data: bytes, picture: Picture, quarter_turns: int = 0) -> Rendered:
    """Make both variants, as WebP, from an original and the result of its `inspect`; raise `RejectedFile`.

    `quarter_turns`, clockwise, 0 to 3, are added to the file's orientation. Call it in a process with limits.
    """
    with decoder_errors_as_rejections():
        width, height = _displayed(picture, quarter_turns)
        image = _pixels(data, picture, quarter_turns, _fit(width, height, LARGE_PX), MIN_SIZE_RATIO)
        size = _fit(*image.size, THUMB_PX)
        small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
        large = _encoded(image, "image/webp", LARGE)
        thumb = _encoded(small, "image/webp", THUMB)
        return Rendered(large, thumb, placeholder(small), width, height)


def resize(data: bytes, picture: Picture, width: int, type: str, quarter_turns: int = 0) -> Rendition:
    """Make a rendition at most `width` px wide, as image/webp, image/jpeg or image/avif; raise `RejectedFile`.

    `data` is an original or a stored variant.
    """
    with decoder_errors_as_rejections():
        full_width, full_height = _displayed(picture, quarter_turns)
        width = min(width, full_width)
        size = width, max(1, round(full_height * width / full_width))
        return _encoded(_pixels(data, picture, quarter_turns, size, 1), type, ON_DEMAND[type])


def _displayed(picture: Picture, quarter_turns: int) -> tuple[int, int]:
    size = picture.width, picture.height
    return size if quarter_turns % 2 == 0 else size[::-1]


def _fit(width: int, height: int, longest_px: int) -> tuple[int, int]:
    scale = min(1, longest_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _pixels(data: bytes, picture: Picture, quarter_turns: int, size: tuple[int, int], min_ratio: float) -> Image.Image:
    """Decode to `size`, or down to `min_ratio` of it if that saves resampling; upright and in sRGB."""
    image = opened(split(data, picture.type)[0], picture.type)
    orientation = picture.orientation
    if sorted(image.size) != sorted((picture.width, picture.height)):
        raise damaged()  # not the file that was inspected
    icc = image.info.get("icc_profile")
    for _ in range(quarter_turns):
        orientation = _AFTER_QUARTER_TURN[orientation]
    image = _shrunk(image, size if orientation < 5 else size[::-1], min_ratio)
    if orientation in _TO_UPRIGHT:
        image = image.transpose(_TO_UPRIGHT[orientation])
    return to_srgb(image, icc)


def _shrunk(image: Image.Image, size: tuple[int, int], min_ratio: float) -> Image.Image:
    """Shrink in the cheapest way: in the JPEG decoder, else by an integer factor, else by resampling."""
    least = math.ceil(size[0] * min_ratio), math.ceil(size[1] * min_ratio)
    drafted = image.draft(None, least)  # None for all but JPEG
    box = drafted[1] if drafted else None
    image = resizable(image)
    if not drafted:
        for factor in (2, 3, 4):
            longest_px = -(-max(image.size) // factor)
            if max(least) <= longest_px <= max(size):
                return image.reduce(factor)
    if max(image.size) <= max(size):
        image.load()
        return image
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)


def _encoded(image: Image.Image, type_: str, options: dict[str, Any]) -> Rendition:
    file = BytesIO()
    image.save(file, _ENCODERS[type_], **options)  # without further options, no EXIF, XMP or profile is written
    return Rendition(file.getvalue(), image.width, image.height, type_)
