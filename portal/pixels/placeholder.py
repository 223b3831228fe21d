"""The gradient shown while a photo loads: one 20-bit integer, decoded by static/css/placeholder.css."""

from PIL import Image

_MID = 2**19  # the stylesheet adds it: the stored value is signed
_COLUMNS, _ROWS = 3, 2
_BASE_LIGHTNESS = [step / 3 * 0.6 + 0.2 for step in range(4)]
_OFFSETS = [step * 0.2 - 0.3 for step in range(4)]
_TINTS = [step / 7 * 0.14 - 0.07 for step in range(8)]


def placeholder(image: Image.Image) -> int:
    """Return the integer, -524288 to 524287, whose gradient is nearest to the RGB image in OKLab.

    Bits, high to low: six lightness offsets of 2 bits (row by row), base lightness 2 bits, a 3 bits, b 3 bits.
    """
    small = image.resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    cells = [_oklab(small.getpixel((x, y))) for y in range(_ROWS) for x in range(_COLUMNS)]
    means = [sum(axis) / len(cells) for axis in zip(*cells, strict=True)]
    lightness = [cell[0] for cell in cells]
    base = min(range(4), key=lambda step: _error(lightness, means[0], _BASE_LIGHTNESS[step]))
    value = 0
    for cell in lightness:
        value = value << 2 | _nearest(_OFFSETS, cell - _BASE_LIGHTNESS[base])
    return (value << 8 | base << 6 | _nearest(_TINTS, means[1]) << 3 | _nearest(_TINTS, means[2])) - _MID


def _error(lightness: list[float], mean: float, base: float) -> float:
    """Return the squared error of a base lightness. The six gradients fade into it, so it counts as a seventh cell."""
    gaps = [cell - base - _OFFSETS[_nearest(_OFFSETS, cell - base)] for cell in lightness]
    return sum(gap * gap for gap in [*gaps, mean - base])


def _nearest(steps: list[float], value: float) -> int:
    return min(range(len(steps)), key=lambda step: abs(steps[step] - value))


def _oklab(pixel: object) -> tuple[float, float, float]:
    """Convert sRGB bytes to OKLab: https://bottosson.github.io/posts/oklab/"""
    assert isinstance(pixel, tuple)
    red, green, blue = (_linear(channel / 255) for channel in pixel)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
