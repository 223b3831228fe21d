"""The country around the house: a lake, its hills and woods, at dusk or in late afternoon."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from random import Random

from portal.demo.canvas import Canvas, Point, Shape, across, down, mix
from portal.demo.shapes import conifer, ellipse, leaf, ribbon, ridge


@dataclass(frozen=True)
class Mood:
    """The colours of an hour of the day."""

    sky: tuple[str, ...]
    haze: str
    wood: str
    sun: str
    water: str


DUSK = Mood(("#24364f", "#3f5875", "#7f8ea0", "#d9b595", "#f2c48d"), "#7d8797", "#1d2c31", "#ffcf8a", "#93a0b0")
AFTERNOON = Mood(("#8fb0c4", "#b5cbd3", "#dfe2d8", "#f6e7c8", "#f9e3b8"), "#a9b8b4", "#4a6350", "#fff0c4", "#c3cfce")


def sky(canvas: Canvas, mood: Mood, horizon: float, sun: float = 0.66) -> None:
    """The sky down to the horizon, brightest above the (hidden) sun."""
    canvas.rect(down(*mood.sky), 0, 0, canvas.width, horizon)
    canvas.glow(canvas.width * sun, horizon, canvas.width * 0.55, horizon * 0.75, 0.6, mood.sun)


def clouds(canvas: Canvas, rng: Random, horizon: float, colour: str, count: int = 9) -> None:
    """Long thin clouds, low in the sky."""
    bands: list[Shape] = []
    for _ in range(count):
        x, y = rng.uniform(0, canvas.width), horizon * rng.uniform(0.3, 0.85)
        bands.append(ellipse(x, y, canvas.width * rng.uniform(0.08, 0.24), horizon * rng.uniform(0.006, 0.02)))
    canvas.light(*bands, opacity=0.4, blur=max(4.0, canvas.width / 110), colour=colour)


def hills(canvas: Canvas, rng: Random, mood: Mood, horizon: float, scale: float = 1.0) -> None:
    """Three ranges of hills growing darker towards us, the last one wooded."""
    tall = canvas.height * 0.2 * scale
    for i, share in enumerate((0.15, 0.42, 0.7)):
        tone = mix(mood.haze, mood.wood, share)
        crest = ridge(rng, canvas.width, horizon, tall * (1.0 - i * 0.27), horizon, 3.0 + i * 1.5)
        canvas.fill(down(tone, mix(tone, mood.sky[-1], 0.28 - i * 0.07)), crest)


def wood(canvas: Canvas, rng: Random, mood: Mood, spans: list[tuple[float, float]], base: float, tall: float) -> None:
    """Firs along the shore, over each span of the width (0 to 1)."""
    back: list[Shape] = []
    front: list[Shape] = []
    for start, end in spans:
        x = start * canvas.width
        while x < end * canvas.width:
            trees, size = (back, 1.0) if rng.random() < 0.5 else (front, 0.75)
            trees.append(conifer(rng, x, base + 3, tall * size * rng.uniform(0.55, 1.0)))
            x += tall * rng.uniform(0.1, 0.24)
    canvas.fill(mix(mood.wood, mood.haze, 0.25), *back)
    canvas.fill(mood.wood, *front)


def glints(canvas: Canvas, rng: Random, line: float, bottom: float, x: float, colour: str, count: int = 70) -> None:
    """Light on the ripples, in a path below the sun, and calm streaks across the water."""
    bright: list[Shape] = []
    for _ in range(count):
        t = rng.random() ** 1.6
        y = line + (bottom - line) * t
        spread = canvas.width * (0.03 + 0.1 * t)
        bright.append(
            ellipse(rng.gauss(x, spread), y, canvas.width * rng.uniform(0.008, 0.035) * (0.4 + t), 0.8 + 3 * t)
        )
    canvas.light(*bright, opacity=0.5, colour=colour)
    streaks = [
        ellipse(
            rng.uniform(0, canvas.width),
            rng.uniform(line, bottom),
            canvas.width * rng.uniform(0.05, 0.2),
            2.2,
        )
        for _ in range(16)
    ]
    canvas.light(*streaks, opacity=0.16, blur=2, colour="#dfe6ea")


def lake(canvas: Canvas, rng: Random, mood: Mood, horizon: float, sun: float = 0.66) -> None:
    """The whole view: sky, hills, woods and their reflection in the water."""
    sky(canvas, mood, horizon, sun)
    clouds(canvas, rng, horizon, mood.sun)
    hills(canvas, rng, mood, horizon)
    wood(canvas, rng, mood, [(0, 0.2), (0.82, 1)], horizon, canvas.height * 0.13)
    depth = canvas.height - round(horizon)
    canvas.mirror(round(horizon), round(horizon), min(depth, round(horizon)), mood.water, 14)
    glints(canvas, rng, horizon + 4, canvas.height, canvas.width * sun, mood.sun)


def view(width: float, height: float, mood: Mood, seed: int, horizon: float = 0.6) -> Canvas:
    """The lake as seen through a window of this size."""
    canvas = Canvas(round(width), round(height))
    lake(canvas, Random(seed), mood, round(canvas.height * horizon))
    return canvas


def grasses(canvas: Canvas, rng: Random, x0: float, x1: float, base: float, tall: float, colour: str) -> None:
    """A fringe of long grass or reeds."""
    blades: list[Shape] = []
    count = int((x1 - x0) / tall * 14)
    for _ in range(count):
        x, size = rng.uniform(x0, x1), tall * rng.uniform(0.45, 1.0)
        lean = rng.uniform(-0.35, 0.35)
        line = [(x, base), (x + lean * size * 0.35, base - size * 0.6), (x + lean * size, base - size)]
        blades.append(ribbon(line, max(2.0, tall * 0.035), 0.8))
    canvas.fill(colour, *blades)


def shrub(canvas: Canvas, rng: Random, x: float, base: float, width: float, height: float, colour: str) -> None:
    """A rounded bush: puffs of foliage, lighter towards the top."""
    for layer, tone in enumerate((mix(colour, "#0d1615", 0.35), colour, mix(colour, "#b9c29a", 0.16))):
        size = 1.0 - layer * 0.2
        puffs: list[Shape] = []
        for _ in range(34 - layer * 6):
            off = rng.uniform(-1, 1)
            lift = (1 - off * off) ** 0.5 * rng.random() ** 0.7
            r = height * rng.uniform(0.1, 0.2) * size
            puffs.append(
                ellipse(
                    x + off * width * 0.45 * size,
                    base - r - height * 0.8 * lift * size - layer * 4,
                    r * 1.2,
                    r,
                )
            )
        canvas.fill(tone, *puffs)


def tree(canvas: Canvas, rng: Random, foot: Point, tall: float, lean: float, tones: tuple[str, ...]) -> None:
    """A light-stemmed tree with an airy head of leaves."""
    x, base = foot
    trunk = [(x, base), (x + lean * tall * 0.4, base - tall * 0.5), (x + lean * tall, base - tall)]
    canvas.fill(across("#50565a", "#85867f"), ribbon(trunk, tall * 0.032, tall * 0.008))
    middle = (x + lean * tall * 0.75, base - tall * 0.78)
    for layer, tone in enumerate(tones):
        blades: list[Shape] = []
        for _ in range(330):
            a, r = rng.uniform(0, 2 * pi), rng.random() ** 0.6
            px, py = (
                middle[0] + cos(a) * r * tall * 0.27,
                middle[1] + sin(a) * r * tall * 0.36 - layer * tall * 0.015,
            )
            blades.append(leaf(px, py, rng.uniform(0, 2 * pi), tall * 0.055, tall * 0.028)[0])
        canvas.fill(tone, *blades)
