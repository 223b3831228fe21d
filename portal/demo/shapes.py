"""Outlines: plain functions that return the points of a polygon."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, hypot, pi, sin
from random import Random

from portal.demo.canvas import Point, Shape


def rect(left: float, top: float, right: float, bottom: float) -> Shape:
    """An upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 2 * pi) -> Shape:
    """An ellipse around (x, y), or the part of it between two angles."""
    steps = 72
    angles = [start + (end - start) * i / steps for i in range(steps + 1)]
    return [(x + rx * cos(a), y + ry * sin(a)) for a in angles]


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> Shape:
    """A rectangle with round corners."""
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    corners = (
        (right - radius, top + radius, -pi / 2),
        (right - radius, bottom - radius, 0.0),
        (left + radius, bottom - radius, pi / 2),
        (left + radius, top + radius, pi),
    )
    points: list[Point] = []
    for x, y, start in corners:
        points += [(x + radius * cos(start + a * pi / 16), y + radius * sin(start + a * pi / 16)) for a in range(9)]
    return points


def arch(left: float, top: float, right: float, bottom: float) -> Shape:
    """A doorway with a half-round head."""
    radius = (right - left) / 2
    return [
        *ellipse(left + radius, top + radius, radius, radius, pi, 2 * pi),
        (right, bottom),
        (left, bottom),
    ]


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 8) -> list[Point]:
    """A curve through the points (Catmull-Rom)."""
    count = len(points)
    out: list[Point] = []
    for i in range(count if closed else count - 1):
        if closed:
            p0, p1, p2, p3 = (points[(i + k) % count] for k in (-1, 0, 1, 2))
        else:
            p0, p1, p2, p3 = (points[min(max(i + k, 0), count - 1)] for k in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            out.append((_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t)))
    return out if closed else [*out, points[-1]]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


def ribbon(points: Sequence[Point], start: float, end: float | None = None) -> Shape:
    """A line with a width, which may taper from `start` to `end`."""
    end = start if end is None else end
    one: list[Point] = []
    other: list[Point] = []
    last = len(points) - 1
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(0, i - 1)], points[min(last, i + 1)]
        length = hypot(bx - ax, by - ay) or 1.0
        half = (start + (end - start) * i / last) / 2
        nx, ny = -(by - ay) / length * half, (bx - ax) / length * half
        one.append((x + nx, y + ny))
        other.append((x - nx, y - ny))
    return [*one, *reversed(other)]


def leaf(x: float, y: float, angle: float, length: float, width: float) -> tuple[Shape, Shape]:
    """A leaf from its stalk at (x, y): the whole blade, and the half that catches the light."""
    along, side = (cos(angle), sin(angle)), (-sin(angle), cos(angle))
    profile = ((0.0, 0.0), (0.2, 0.72), (0.42, 1.0), (0.68, 0.78), (0.88, 0.32), (1.0, 0.0))

    def edge(sign: float) -> list[Point]:
        return [
            (x + along[0] * t * length + side[0] * w * sign, y + along[1] * t * length + side[1] * w * sign)
            for t, w in ((t, w * width / 2) for t, w in profile)
        ]

    upper = smooth(edge(-1.0), closed=False, steps=4)
    return [*upper, *reversed(smooth(edge(1.0), closed=False, steps=4))], upper


def ridge(rng: Random, width: float, base: float, height: float, floor: float, rough: float = 3.0) -> Shape:
    """A line of hills across the width, closed along `floor`."""
    waves = [(rng.uniform(0.6, 1.4) * k * rough, rng.uniform(0, 2 * pi), 1 / k) for k in (1, 2, 4, 7)]
    points: list[Point] = []
    for i in range(121):
        rise = sum(share * sin(i / 120 * speed + phase) for speed, phase, share in waves)
        points.append((i / 120 * width, base - height * (0.5 + rise / 3)))
    return [*points, (width, floor), (0, floor)]


def conifer(rng: Random, x: float, base: float, height: float, spread: float = 0.2) -> Shape:
    """A fir: a ragged, narrow triangle."""
    left: list[Point] = []
    right: list[Point] = []
    tiers = 9
    for i in range(1, tiers + 1):
        y = base - height * (1 - i / tiers)
        half = height * spread * (i / tiers) ** 0.85
        for side, points in ((-1, left), (1, right)):
            points.append((x + side * half * rng.uniform(0.85, 1.1), y))
            points.append((x + side * half * 0.62, y - height * 0.015))
    return [(x, base - height), *right, *reversed(left)]
