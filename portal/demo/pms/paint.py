"""The pictures of a fake PMS: the demo's photos, scaled down, tinted and numbered."""

from functools import cache
from hashlib import sha256
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from portal.demo.photos import PHOTOS

LANDSCAPES = PHOTOS[:7]  # the eighth is a portrait
SIZE = (480, 320)
QUALITY = 80


def painted(listing: int, number: int, version: int = 0) -> bytes:
    """Return a JPEG without metadata, unique to the listing, number and version, and always the same."""
    picture = _small(number % len(LANDSCAPES)).convert("RGB", _tint(listing, version))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((12, 278, 208, 308), fill="#1b1a1f")
    label = f"{listing} / {number + 1}" + (f", version {version + 1}" if version else "")
    pen.text((20, 283), label, fill="white", font=_font())
    file = BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def words(number: int) -> str:
    """Return a description of the picture with this number."""
    return LANDSCAPES[number % len(LANDSCAPES)].alt_text


@cache
def _small(which: int) -> Image.Image:
    with Image.open(BytesIO(LANDSCAPES[which].read())) as photo:
        return photo.resize(SIZE, Image.Resampling.BOX)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(16)


def _tint(listing: int, version: int) -> tuple[float, ...]:
    """Return a tint for a listing and version, as a colour matrix for Pillow."""
    red, green, blue = (0.75 + byte / 640 for byte in sha256(f"{listing}.{version}".encode()).digest()[:3])
    return (red, 0, 0, 0, 0, green, 0, 0, 0, 0, blue, 0)
