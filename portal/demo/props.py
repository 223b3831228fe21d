"""What stands and hangs about the house: plants, lamps, curtains, pictures, crockery, a heron."""

from __future__ import annotations

from math import pi, sin
from random import Random

from portal.demo.canvas import LAMP, SHADOW, Canvas, Point, Shape, across, down, mix
from portal.demo.shapes import ellipse, leaf, rect, ribbon, rounded, smooth

Edges = tuple[float, float, float, float]

MUSTARD = "#d6a033"
GREEN = "#2f4a3c"
OAK = "#b98a5a"
WALNUT = "#6d4c35"
LINEN = "#e9e0cf"
PLASTER = "#e9e1d3"
BRASS = "#b98f4a"
INK = "#2b2e33"
CLAY = "#b5714f"


def curtain(canvas: Canvas, rng: Random, edges: Edges, colour: str = LINEN) -> None:
    """A drape in soft folds, hanging from a rail."""
    left, top, right, bottom = edges
    folds = [mix(colour, SHADOW if i % 2 else "#fff6e6", rng.uniform(0.12, 0.34)) for i in range(11)]
    flare = (right - left) * 0.06
    hem = [(right + flare - i / 10 * (right - left + 2 * flare), bottom + (i % 2) * 7) for i in range(11)]
    shape = [(left, top), (right, top), *hem]
    canvas.shade(shape, opacity=0.3, blur=16)
    canvas.fill(across(*folds), shape)
    canvas.shade(rect(left, bottom - (bottom - top) * 0.3, right, bottom), opacity=0.14, blur=50)


def pendant(canvas: Canvas, x: float, y: float, size: float, colour: str = INK, cord_top: float = 0) -> None:
    """A hanging lamp: a dome on a cord, lit below; (x, y) is its rim's middle."""
    canvas.fill("#24221f", ribbon([(x, cord_top), (x, y - size * 0.6)], max(2.0, size * 0.03)))
    canvas.glow(x, y + size * 0.7, size * 3.4, size * 3.0, 0.42)
    dome = smooth(
        [
            (x - size * 0.07, y - size * 0.68),
            (x + size * 0.07, y - size * 0.68),
            (x + size * 0.34, y - size * 0.4),
            (x + size * 0.5, y),
            (x, y + size * 0.03),
            (x - size * 0.5, y),
            (x - size * 0.34, y - size * 0.4),
        ]
    )
    canvas.fill(across(mix(colour, "#ffffff", 0.3), colour, mix(colour, "#000000", 0.35)), dome)
    canvas.fill("#fff0cf", ellipse(x, y, size * 0.47, size * 0.07))
    canvas.glow(x, y, size * 0.8, size * 0.5, 0.6)


def table_lamp(canvas: Canvas, x: float, foot: float, height: float, body: str = CLAY) -> None:
    """A lit lamp with a linen shade, standing at `foot`."""
    top, rim, half = foot - height, foot - height * 0.52, height * 0.3
    canvas.glow(x, foot - height * 0.7, height * 2.3, height * 2.1, 0.6)
    base = smooth(
        [
            (x - height * 0.06, rim),
            (x + height * 0.06, rim),
            (x + height * 0.17, foot - height * 0.2),
            (x + height * 0.1, foot),
            (x - height * 0.1, foot),
            (x - height * 0.17, foot - height * 0.2),
        ]
    )
    canvas.fill(across(mix(body, "#fff0d6", 0.35), body, mix(body, SHADOW, 0.5)), base)
    shade = [(x - half * 0.68, top), (x + half * 0.68, top), (x + half, rim), (x - half, rim)]
    canvas.fill(across("#f3d9a6", "#fff2d4", "#f6deb0", "#e3bd83"), shade)
    canvas.glow(x, rim - height * 0.16, half * 1.7, half * 1.3, 0.45)


def floor_lamp(canvas: Canvas, x: float, foot: float, height: float) -> None:
    """A tall lamp on a slim brass stem."""
    top, rim, half = foot - height, foot - height * 0.8, height * 0.115
    canvas.fill(down(BRASS, mix(BRASS, SHADOW, 0.5)), ribbon([(x, rim), (x, foot)], height * 0.012))
    canvas.fill(mix(BRASS, SHADOW, 0.45), ellipse(x, foot, height * 0.085, height * 0.018))
    canvas.glow(x, top + height * 0.12, height * 0.85, height * 0.85, 0.62)
    canvas.fill(
        across("#ecc98f", "#fff2d4", "#f8e3b8", "#deb67b"),
        [(x - half * 0.7, top), (x + half * 0.7, top), (x + half, rim), (x - half, rim)],
    )
    canvas.glow(x, rim - height * 0.08, half * 1.8, half * 1.4, 0.5)


def pot(canvas: Canvas, x: float, foot: float, width: float, height: float, colour: str) -> None:
    """A tapered plant pot."""
    half = width / 2
    sides = [
        (x - half, foot - height),
        (x + half, foot - height),
        (x + half * 0.78, foot),
        (x - half * 0.78, foot),
    ]
    canvas.shade(ellipse(x, foot, half * 1.25, half * 0.3), opacity=0.6, blur=14)
    base = ellipse(x, foot, half * 0.78, half * 0.14)
    canvas.fill(across(mix(colour, "#fff0d6", 0.3), colour, mix(colour, SHADOW, 0.5)), sides, base)
    canvas.fill("#3a2d24", ellipse(x, foot - height, half, half * 0.16))


def rubber_plant(canvas: Canvas, rng: Random, foot: Point, height: float, green: str = GREEN, leaves: int = 26) -> None:
    """Stems of broad leaves fanning out of one point."""
    x, y = foot
    for stem in range(4):
        lean = (stem - 1.5) * 0.17 + rng.uniform(-0.05, 0.05)
        tall = height * rng.uniform(0.78, 1.0)
        line = smooth([(x, y), (x + lean * tall * 0.4, y - tall * 0.5), (x + lean * tall, y - tall)], False)
        canvas.fill(mix(WALNUT, GREEN, 0.5), ribbon(line, height * 0.014, height * 0.005))
        count = leaves // 4
        for i in range(count):
            along = 0.3 + 0.7 * (i + rng.random() * 0.6) / count
            px, py = line[min(len(line) - 1, int(along * len(line)))]
            side = -1 if i % 2 else 1
            angle = -pi / 2 + side * rng.uniform(0.35, 1.25) * (1.15 - along * 0.5)
            length = height * rng.uniform(0.17, 0.25)
            whole, lit = leaf(px, py, angle, length, length * 0.46)
            tone = mix(green, "#a9bd8c", rng.uniform(0.0, 0.32))
            canvas.fill(mix(tone, "#14231d", 0.25), whole)
            canvas.fill(tone, lit)


def sprigs(canvas: Canvas, rng: Random, foot: Point, height: float, colour: str = "#8d9b7c", count: int = 7) -> None:
    """Thin branches with small leaves, for a vase (olive, eucalyptus)."""
    x, y = foot
    for i in range(count):
        lean = (i / max(1, count - 1) - 0.5) * 1.1 + rng.uniform(-0.1, 0.1)
        tall = height * rng.uniform(0.7, 1.0)
        line = smooth([(x, y), (x + lean * tall * 0.35, y - tall * 0.6), (x + lean * tall, y - tall)], False)
        canvas.fill(mix(colour, WALNUT, 0.5), ribbon(line, height * 0.014, height * 0.006))
        blades: list[Shape] = []
        for k, (px, py) in enumerate(line[4:]):
            angle = -pi / 2 + lean + (1 if k % 2 else -1) * rng.uniform(0.5, 1.1)
            blades.append(leaf(px, py, angle, height * 0.13, height * 0.045)[0])
        canvas.fill(mix(colour, GREEN, rng.uniform(0, 0.5)), *blades)


def vase(canvas: Canvas, x: float, foot: float, height: float, colour: str) -> None:
    """A round-bellied vase with a narrow neck."""
    outline = [(0.1, 1.0), (0.12, 0.82), (0.34, 0.5), (0.3, 0.18), (0.18, 0.0)]
    right = [(x + w * height, foot - h * height) for w, h in outline]
    left = [(2 * x - px, py) for px, py in reversed(right)]
    canvas.shade(ellipse(x, foot, height * 0.4, height * 0.07), opacity=0.5, blur=8)
    canvas.fill(
        across(mix(colour, "#fff6e6", 0.45), colour, mix(colour, SHADOW, 0.45)),
        [*smooth(right, False), *smooth(left, False)],
    )


def heron(canvas: Canvas, x: float, foot: float, height: float, colour: str, flip: bool = False) -> None:
    """The bird of the house, standing in profile; it faces right unless flipped."""
    sign = -1 if flip else 1

    def p(px: float, py: float) -> Point:
        return x + sign * px * height, foot - py * height

    legs = [ribbon([p(-0.02, 0.4), p(-0.01, 0.2), p(-0.03, 0.0)], height * 0.014)]
    legs.append(ribbon([p(0.03, 0.4), p(0.07, 0.21), p(0.04, 0.0)], height * 0.014))
    body = smooth([p(-0.25, 0.33), p(-0.1, 0.36), p(0.06, 0.4), p(0.15, 0.52), p(0.1, 0.6), p(-0.06, 0.53)])
    line = [p(0.1, 0.54), p(0.19, 0.64), p(0.13, 0.76), p(0.1, 0.86), p(0.15, 0.93)]
    neck = ribbon(smooth(line, False), height * 0.075, height * 0.035)
    head = smooth([p(0.11, 0.93), p(0.16, 0.96), p(0.23, 0.935), p(0.39, 0.9), p(0.22, 0.905), p(0.14, 0.905)])
    plume = ribbon([p(0.15, 0.945), p(0.06, 0.93), p(-0.02, 0.89)], height * 0.016, 1)
    canvas.fill(colour, *legs, body, neck, head, plume)
    wing = smooth([p(-0.25, 0.33), p(-0.08, 0.38), p(0.05, 0.45), p(0.06, 0.54), p(-0.06, 0.5)])
    canvas.fill(mix(colour, "#10161c", 0.3), wing)


def picture(canvas: Canvas, edges: Edges, subject: str = "heron", frame: str = WALNUT) -> None:
    """A framed print with a wide mount: the heron, or hills and a sun."""
    left, top, right, bottom = edges
    wide, tall = right - left, bottom - top
    edge, mount = wide * 0.035, wide * 0.13
    canvas.shade(rect(left + 8, top + 14, right + 14, bottom + 20), opacity=0.42, blur=16)
    canvas.rect(across(mix(frame, "#fff0d6", 0.2), frame), left, top, right, bottom)
    canvas.rect("#f4eee2", left + edge, top + edge, right - edge, bottom - edge)
    inner = (left + mount, top + mount, right - mount, bottom - mount)
    canvas.rect(down("#8fa3ad", "#d9d2c0", "#ecd6b0"), *inner)
    base = bottom - mount
    if subject == "heron":
        canvas.fill("#e8c07c", ellipse(left + wide * 0.66, top + tall * 0.36, wide * 0.11, wide * 0.11))
        canvas.rect(down("#6f8791", "#4c6370"), inner[0], base - tall * 0.16, inner[2], base)
        heron(canvas, left + wide * 0.44, base - tall * 0.06, tall * 0.56, "#34465a")
        return
    canvas.fill(MUSTARD, ellipse(left + wide * 0.6, top + tall * 0.42, wide * 0.12, wide * 0.12))
    for i, tone in enumerate(("#8c9b8a", "#5f7768", GREEN)):
        crest = [
            (
                inner[0] + (inner[2] - inner[0]) * k / 24,
                base - tall * (0.3 - 0.09 * i + 0.05 * sin(k / (3.2 + i) + i * 2)),
            )
            for k in range(25)
        ]
        canvas.fill(tone, [*crest, (inner[2], base), (inner[0], base)])


def cushion(canvas: Canvas, x: float, y: float, side: float, colour: str, tilt: float = 0.0) -> None:
    """A plump square cushion around (x, y)."""
    h, pinch = side / 2, side * 0.43
    corners = [(-h, -h), (0, -pinch), (h, -h), (pinch, 0), (h, h), (0, pinch), (-h, h), (-pinch, 0)]
    shape = smooth([(x + a - b * tilt, y + b + a * tilt) for a, b in corners])
    canvas.shade([(a + 8, b + 12) for a, b in shape], opacity=0.4, blur=12)
    canvas.fill(down(mix(colour, "#fff0d6", 0.3), colour, mix(colour, SHADOW, 0.3)), shape)


def lantern(canvas: Canvas, x: float, foot: float, height: float) -> None:
    """A small storm lantern, lit."""
    half = height * 0.24
    canvas.glow(x, foot - height * 0.4, height * 2.2, height * 1.8, 0.6)
    canvas.fill(down("#ffe7b0", LAMP, "#c9853f"), rounded(x - half, foot - height * 0.72, x + half, foot, 4))
    bars = [ribbon([(x + k * half, foot - height * 0.74), (x + k * half, foot)], height * 0.04) for k in (-1, 0, 1)]
    roof = [
        (x - half * 1.2, foot - height * 0.72),
        (x + half * 1.2, foot - height * 0.72),
        (x, foot - height),
    ]
    canvas.fill(INK, *bars, roof, rect(x - half * 1.15, foot - height * 0.05, x + half * 1.15, foot))
