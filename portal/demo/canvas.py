"""A picture to paint on: anti-aliased shapes, soft light and film grain, with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from random import Random

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

Point = tuple[float, float]
Shape = Sequence[Point]
Box = tuple[int, int, int, int]
RGB = tuple[int, int, int]

SHADOW = "#3a2f2a"
LAMP = "#ffc877"


def rgb(colour: str) -> RGB:
    """The three channels of a '#rrggbb' colour."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def mix(one: str, other: str, share: float) -> str:
    """`one` with `share` (0 to 1) of `other` stirred in."""
    pairs = zip(rgb(one), rgb(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


@dataclass(frozen=True)
class Fade:
    """A gradient across a shape's bounding box: downwards, or sideways (left to right)."""

    stops: tuple[str, ...]
    sideways: bool = False

    def over(self, size: tuple[int, int]) -> Image.Image:
        """The gradient as a picture of this size."""
        count = len(self.stops)
        strip = Image.new("RGB", (count, 1) if self.sideways else (1, count))
        strip.putdata([rgb(stop) for stop in self.stops])
        long_side = (size[0], 1) if self.sideways else (1, size[1])
        smooth = strip.resize(long_side, Image.Resampling.BICUBIC)
        return smooth.resize(size, Image.Resampling.NEAREST)


Paint = str | Fade


def down(*stops: str) -> Fade:
    """A gradient from top to bottom."""
    return Fade(stops)


def across(*stops: str) -> Fade:
    """A gradient from left to right."""
    return Fade(stops, sideways=True)


class Canvas:
    """An RGB picture with the few brushes the scenes need; every shape is a polygon."""

    def __init__(self, width: int, height: int, ground: Paint = "#000000") -> None:
        self.image = Image.new("RGB", (width, height))
        self.width, self.height = width, height
        self.rect(ground, 0, 0, width, height)

    def rect(self, paint: Paint, left: float, top: float, right: float, bottom: float) -> None:
        """An upright rectangle on whole pixels: needs no anti-aliasing, so it is cheap."""
        box = (round(left), round(top), round(right), round(bottom))
        if box[2] > box[0] and box[3] > box[1]:
            self.image.paste(_source(paint, box), box)

    def fill(self, paint: Paint, *shapes: Shape, opacity: float = 1.0, blur: float = 0.0) -> None:
        """Paint the shapes, as one, over what is there."""
        box = self._box(shapes, blur)
        if box:
            self.image.paste(_source(paint, box), box, _mask(shapes, box, opacity, blur))

    def shade(self, *shapes: Shape, opacity: float = 0.5, blur: float = 0.0, colour: str = SHADOW) -> None:
        """Darken under the shapes, keeping what is there visible (multiply)."""
        box = self._box(shapes, blur)
        if box:
            region = self.image.crop(box)
            tint = Image.new("RGB", region.size, colour)
            dark = ImageChops.multiply(region, tint)
            self.image.paste(dark, box, _mask(shapes, box, opacity, blur))

    def light(self, *shapes: Shape, opacity: float = 0.5, blur: float = 0.0, colour: str = LAMP) -> None:
        """Let light fall on the shapes (screen)."""
        box = self._box(shapes, blur)
        if box:
            self._screen(colour, box, _mask(shapes, box, opacity, blur))

    def glow(self, x: float, y: float, rx: float, ry: float, opacity: float = 0.6, colour: str = LAMP) -> None:
        """A round pool of light, fading to nothing at its rim."""
        whole = (round(x - rx), round(y - ry), round(x + rx), round(y + ry))
        box = self._clip(whole)
        if not box:
            return
        step_x, step_y = 256 / (whole[2] - whole[0]), 256 / (whole[3] - whole[1])
        part = (
            (box[0] - whole[0]) * step_x,
            (box[1] - whole[1]) * step_y,
            (box[2] - whole[0]) * step_x,
            (box[3] - whole[1]) * step_y,
        )
        size = (box[2] - box[0], box[3] - box[1])
        fall = _falloff().point([round(level * opacity) for level in range(256)])
        self._screen(colour, box, fall.resize(size, Image.Resampling.BILINEAR, box=part))

    def place(self, picture: Image.Image, left: float, top: float) -> None:
        """Lay another picture down, its corner here."""
        self.image.paste(picture, (round(left), round(top)))

    def mirror(self, source: int, line: int, depth: int, tint: str, blur: float) -> None:
        """Still water below `line`: what stands above `source`, upside down, tinted and softened."""
        above = self.image.crop((0, source - depth, self.width, source))
        flipped = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        soft = flipped.reduce(4).filter(ImageFilter.GaussianBlur(blur / 4))
        water = soft.resize((self.width, depth), Image.Resampling.BICUBIC)
        self.image.paste(ImageChops.multiply(water, Image.new("RGB", water.size, tint)), (0, line))

    def finish(self, vignette: float = 0.3) -> Image.Image:
        """The picture with its corners held back a little and film grain over everything."""
        corner = Image.radial_gradient("L").point([round(max(0, v - 90) * vignette) for v in range(256)])
        edge = corner.resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste("#1b1a1f", (0, 0), edge)
        return ImageChops.add(self.image, _grain(self.image.size), 1, -128)

    def _screen(self, colour: str, box: Box, mask: Image.Image) -> None:
        layer = Image.merge("RGB", [mask.point([v * c // 255 for v in range(256)]) for c in rgb(colour)])
        self.image.paste(ImageChops.screen(self.image.crop(box), layer), box)

    def _box(self, shapes: Sequence[Shape], blur: float) -> Box | None:
        pad = ceil(blur * 2.5) + 1
        xs = [x for shape in shapes for x, _ in shape]
        ys = [y for shape in shapes for _, y in shape]
        return self._clip((floor(min(xs)) - pad, floor(min(ys)) - pad, ceil(max(xs)) + pad, ceil(max(ys)) + pad))

    def _clip(self, box: Box) -> Box | None:
        left, top = max(0, box[0]), max(0, box[1])
        right, bottom = min(self.width, box[2]), min(self.height, box[3])
        return (left, top, right, bottom) if right > left and bottom > top else None


def _source(paint: Paint, box: Box) -> Image.Image | str:
    if isinstance(paint, Fade):
        return paint.over((box[2] - box[0], box[3] - box[1]))
    return paint


def _mask(shapes: Sequence[Shape], box: Box, opacity: float, blur: float) -> Image.Image:
    """Where the shapes are: drawn large and reduced when crisp, drawn small and enlarged when soft."""
    left, top, right, bottom = box
    size = (right - left, bottom - top)
    factor = 4 if size[0] * size[1] < 60_000 else 2
    scale = min(1.0, 3 / blur) if blur else float(factor)
    mask = Image.new("L", (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        pen.polygon([((x - left) * scale, (y - top) * scale) for x, y in shape], fill=round(255 * opacity))
    if not blur:
        return mask.reduce(factor)
    return mask.filter(ImageFilter.GaussianBlur(blur * scale)).resize(size, Image.Resampling.BILINEAR)


@lru_cache(maxsize=1)
def _falloff() -> Image.Image:
    """A 256 pixel disc, bright in the middle, eased to nothing at the rim."""
    return Image.radial_gradient("L").point([round(255 * (1 - min(1.0, v / 254)) ** 2.2) for v in range(256)])


@lru_cache(maxsize=2)
def _grain(size: tuple[int, int]) -> Image.Image:
    """Film grain around middle grey, from a seeded tile (Pillow's own noise cannot be seeded)."""
    side, seeded = 512, Random(7)
    tile = Image.frombytes("L", (side, side), seeded.randbytes(side * side))
    tile = tile.filter(ImageFilter.GaussianBlur(0.7)).point([128 + round((v - 128) * 0.085) for v in range(256)])
    sheet = Image.new("L", size)
    for left in range(0, size[0], side):
        for top in range(0, size[1], side):
            sheet.paste(tile, (left, top))
    return Image.merge("RGB", (sheet, sheet, sheet))
