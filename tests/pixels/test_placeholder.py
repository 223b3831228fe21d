"""The placeholder: one integer that the stylesheet turns into a blurred picture."""

import math

import pytest
from PIL import Image

from portal.pixels.placeholder import placeholder


def shown(value: int) -> list[tuple[float, float, float]]:
    """The stylesheet's reading of the integer: six colours, (L, a, b), row by row."""
    n = value + 524288
    base = math.floor(n / 64) % 4 / 3 * 0.6 + 0.2
    a, b = math.floor(n / 8) % 8 / 7 * 0.14 - 0.07, n % 8 / 7 * 0.14 - 0.07
    places = (262144, 65536, 16384, 4096, 1024, 256)
    return [(base + math.floor(n / place) % 4 * 0.2 - 0.3, a, b) for place in places]


def test_the_placeholder_is_light_where_the_photo_is() -> None:
    image = Image.new("RGB", (30, 20), "black")
    image.paste("white", (20, 0, 30, 10))
    lightness = [cell[0] for cell in shown(placeholder(image))]
    assert max(range(6), key=lightness.__getitem__) == 2  # top right
    assert lightness[2] - max(lightness[:2] + lightness[3:]) > 0.3


@pytest.mark.parametrize(("colour", "axis", "sign"), [("red", 1, 1), ("green", 1, -1), ("gold", 2, 1), ("blue", 2, -1)])
def test_the_placeholder_has_the_photos_tint(colour: str, axis: int, sign: int) -> None:
    cells = shown(placeholder(Image.new("RGB", (30, 20), colour)))
    assert all(cell[axis] * sign > 0.03 for cell in cells)


@pytest.mark.parametrize("grey", range(0, 256, 15))
def test_a_grey_photos_placeholder_is_near_its_grey(grey: int) -> None:
    value = placeholder(Image.new("RGB", (30, 20), (grey, grey, grey)))
    assert -524288 <= value < 524288
    linear = grey / 255 / 12.92 if grey <= 10 else ((grey / 255 + 0.055) / 1.055) ** 2.4
    wanted = min(0.1 + 1, linear ** (1 / 3))
    for lightness, a, b in shown(value):
        assert abs(lightness - wanted) <= 0.101
        assert abs(a) < 0.02 > abs(b)
