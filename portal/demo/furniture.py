"""Built things and furniture, placed in metres on a stage: windows, beams, sofas, tables, the armchair."""

from __future__ import annotations

from random import Random

from portal.demo.canvas import SHADOW, Shape, across, down, mix
from portal.demo.landscape import Mood, view
from portal.demo.props import INK, MUSTARD, OAK, WALNUT
from portal.demo.shapes import ellipse, rect, ribbon, smooth
from portal.demo.stage import Block, Room, Stage


def window(c: Stage, x0: float, x1: float, y0: float, y1: float, z: float, panes: int, mood: Mood, seed: int) -> None:
    """A window in the far wall, with the lake behind it."""
    left, top, right, bottom = c.front(x0, x1, y0, y1, z)
    eye_line = min(0.85, max(0.3, (c.vanish[1] - top) / (bottom - top) + 0.08))
    c.place(view(right - left, bottom - top, mood, seed, eye_line).image, left, top)
    bar = c.size(0.045, z)
    frame = [
        rect(left - bar, top - bar, right + bar, top),
        rect(left - bar, bottom, right + bar, bottom + bar),
    ]
    for i in range(panes + 1):
        x = left + (right - left) * i / panes
        frame.append(rect(x - bar * 0.6, top - bar, x + bar * 0.6, bottom + bar))
    c.shade(*frame, opacity=0.35, blur=9)
    c.fill(INK, *frame)
    c.glow((left + right) / 2, (top + bottom) / 2, (right - left) * 0.95, (bottom - top) * 0.9, 0.26, mood.sun)


def beams(c: Stage, room: Room, count: int, colour: str = OAK) -> None:
    """Wooden beams running away from us under the ceiling."""
    step = (room.right - room.left) / (count + 1)
    for i in range(1, count + 1):
        x, low = room.left + i * step, room.height - 0.16
        inner = x - 0.07 if x > 0 else x + 0.07
        c.fill(mix(colour, SHADOW, 0.45), c.side(inner, low, room.height, 1.2, room.back))
        c.fill(
            down(mix(colour, SHADOW, 0.35), mix(colour, SHADOW, 0.1)),
            c.flat(x - 0.07, x + 0.07, 1.2, room.back, low),
        )
        c.fill(mix(colour, SHADOW, 0.3), rect(*c.front(x - 0.07, x + 0.07, low, room.height, room.back)))


def sofa(c: Stage, b: Block, colour: str) -> None:
    """A deep sofa with two seats, facing us; `b` is its whole bulk."""
    c.grounded(b)
    arm, seat = 0.2, b.y1 * 0.5
    c.block(Block(b.x0 + 0.05, b.x1 - 0.05, 0.1, b.y1, b.z1 - 0.25, b.z1), mix(colour, SHADOW, 0.1), 0.1)
    arms = [Block(x0, x0 + arm, 0.1, seat + 0.2, b.z0, b.z1) for x0 in (b.x0, b.x1 - arm)]
    outward = [c.at(b.x0, 0, b.z0)[0] > c.vanish[0], c.at(b.x1, 0, b.z0)[0] < c.vanish[0]]
    for block, near in zip(arms, outward, strict=True):
        if not near:
            c.block(block, colour, 0.07, 0.22)
    middle = (b.x0 + b.x1) / 2
    halves = [(b.x0 + arm, middle), (middle, b.x1 - arm)]
    halves.sort(key=lambda half: -abs(sum(half)))  # the one nearer the middle hides the other's side
    for x0, x1 in halves:
        c.block(Block(x0, x1, seat, b.y1 - 0.03, b.z1 - 0.42, b.z1 - 0.2), colour, 0.1, 0.15)
    c.block(Block(b.x0 + arm, b.x1 - arm, 0.1, seat - 0.16, b.z0, b.z1 - 0.4), mix(colour, SHADOW, 0.25))
    for x0, x1 in halves:
        c.block(Block(x0 + 0.01, x1 - 0.01, seat - 0.17, seat, b.z0 - 0.02, b.z1 - 0.4), colour, 0.06, 0.2)
    for block, near in zip(arms, outward, strict=True):
        if near:
            c.block(block, colour, 0.07, 0.22)
    legs = [rect(*c.front(x, x + 0.05, 0, 0.1, b.z0 + 0.05)) for x in (b.x0 + 0.08, b.x1 - 0.13)]
    c.fill(WALNUT, *legs)


def round_table(c: Stage, x: float, z: float, radius: float, height: float, colour: str = OAK) -> None:
    """A round wooden table on three legs."""
    px, py = c.at(x, height, z)
    wide, deep = c.size(radius, z), (c.at(0, height, z - radius)[1] - c.at(0, height, z + radius)[1]) / 2
    foot = c.at(x, 0, z)[1]
    c.shade(ellipse(px, foot + deep * 0.2, wide * 1.1, deep), opacity=0.6, blur=18)
    for lean in (-0.75, 0.1, 0.75):
        line = [(px + wide * lean * 0.8, py), (px + wide * lean, foot + deep * 0.35)]
        c.fill(mix(colour, SHADOW, 0.5), ribbon(line, wide * 0.07, wide * 0.04))
    thick = c.size(0.03, z)
    edge = [ellipse(px, py + thick, wide, deep), rect(px - wide, py, px + wide, py + thick)]
    c.fill(across(colour, mix(colour, SHADOW, 0.35), mix(colour, SHADOW, 0.55)), *edge)
    c.fill(across(mix(colour, "#fff0d6", 0.4), colour, mix(colour, SHADOW, 0.12)), ellipse(px, py, wide, deep))


def armchair(c: Stage, b: Block, colour: str = MUSTARD) -> None:
    """A rounded, winged armchair facing us; `b` is its whole bulk."""
    c.grounded(b, 0.6)
    legs = [(b.x0 + 0.12, b.x0 + 0.06, b.z0 + 0.08), (b.x1 - 0.12, b.x1 - 0.06, b.z0 + 0.08)]
    c.fill(
        WALNUT,
        *(ribbon([c.at(a, 0.2, z), c.at(f, 0, z)], c.size(0.05, z), c.size(0.03, z)) for a, f, z in legs),
    )
    left, top, right, bottom = c.front(b.x0 + 0.04, b.x1 - 0.04, 0.2, b.y1, b.z1 - 0.15)
    wide, tall = right - left, bottom - top
    bow = [
        (0.0, 1.0),
        (-0.02, 0.4),
        (0.08, 0.08),
        (0.3, -0.02),
        (0.5, -0.03),
        (0.7, -0.02),
        (0.92, 0.08),
        (1.02, 0.4),
        (1.0, 1.0),
    ]
    back = smooth([(left + u * wide, top + v * tall) for u, v in bow], False)
    dark, pale = mix(colour, SHADOW, 0.4), mix(colour, "#fff0d6", 0.3)
    c.fill(across(pale, colour, colour, dark), back)
    inner = [(left + wide * (0.5 + (u - 0.5) * 0.8), top + tall * (0.07 + v * 0.93)) for u, v in bow]
    c.fill(down(mix(colour, pale, 0.5), colour, dark), smooth(inner, False))
    tufts = [
        ribbon([(left + wide * k, top + tall * 0.1), (left + wide * k, bottom)], 5) for k in (0.32, 0.44, 0.56, 0.68)
    ]
    c.shade(*tufts, opacity=0.3, blur=5)
    c.block(Block(b.x0 + 0.14, b.x1 - 0.14, 0.3, 0.47, b.z0 + 0.03, b.z1 - 0.25), colour, 0.07, 0.2)
    for x0, x1 in ((b.x0, b.x0 + 0.17), (b.x1 - 0.17, b.x1)):
        c.block(Block(x0, x1, 0.2, 0.62, b.z0, b.z1 - 0.15), colour, 0.08, 0.22)
    c.block(Block(b.x0 + 0.15, b.x1 - 0.15, 0.2, 0.31, b.z0 + 0.01, b.z1 - 0.3), mix(colour, SHADOW, 0.25))


def wall_tiles(
    c: Stage, rng: Random, area: tuple[float, float, float, float], z: float, colour: str, side: float = 0.1
) -> None:
    """Hand-made tiles on the far wall, each a shade of its own; `area` is x0, x1, y0, y1."""
    left, top, right, bottom = c.front(*area, z)
    c.rect(down(colour, mix(colour, SHADOW, 0.08)), left, top, right, bottom)
    step = c.size(side, z)
    columns, rows = round((right - left) / step), round((bottom - top) / step)
    dark: list[Shape] = []
    pale: list[Shape] = []
    for i in range(columns):
        for k in range(rows):
            x, y, pick = left + i * step, top + k * step, rng.random()
            if pick < 0.55:
                (dark if pick < 0.28 else pale).append(rect(x, y, x + step, y + step))
    c.shade(*dark, opacity=0.09)
    c.light(*pale, opacity=0.12, colour="#fff0d6")
    lines = [rect(left + i * step, top, left + i * step + 2, bottom) for i in range(columns + 1)]
    lines += [rect(left, top + k * step, right, top + k * step + 2) for k in range(rows + 1)]
    c.light(*lines, opacity=0.3, colour="#f6eedd")
    c.rect(mix(colour, "#fff6e6", 0.5), left, top - 6, right, top)
