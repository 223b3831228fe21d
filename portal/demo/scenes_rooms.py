"""The rooms with water in Heron House: kitchen and bathroom."""

from __future__ import annotations

from math import pi
from random import Random

from PIL import Image

from portal.demo.canvas import SHADOW, across, down, mix
from portal.demo.furniture import beams, wall_tiles, window
from portal.demo.landscape import AFTERNOON, DUSK
from portal.demo.props import (
    BRASS,
    CLAY,
    INK,
    LINEN,
    MUSTARD,
    OAK,
    PLASTER,
    WALNUT,
    pendant,
    pot,
    rubber_plant,
    sprigs,
    vase,
)
from portal.demo.shapes import ellipse, rect, ribbon, rounded, smooth
from portal.demo.stage import Block, Room, Stage

SIZE = (2400, 1600)
CABINET = "#3d5a4b"


def kitchen() -> Image.Image:
    """The kitchen: green cabinets, oak shelves, an island under three lamps."""
    c, rng = Stage(SIZE, (1200, 700), 1750, 1.5), Random(6)
    room = Room(-3.0, 3.0, 2.75, 5.6)
    c.shell(room, PLASTER, "#efe8da")
    beams(c, room, 4)
    c.boards(rng, room, ("#8a6443", "#bd976d"))
    wall_tiles(c, rng, (-3.0, 3.0, 0.92, 1.62), 5.6, "#dcd8c6")
    window(c, -0.95, 0.95, 1.08, 2.2, 5.6, 3, AFTERNOON, 15)
    for x0 in (-2.75, 1.3):
        _shelves(c, rng, x0, x0 + 1.45)
    _cabinets(c)
    _island(c)
    for x in (-0.95, 0.0, 0.95):
        px, py = c.at(x, 1.92, 3.6)
        pendant(c, px, py, 150, CABINET)
    return c.finish()


def _shelves(c: Stage, rng: Random, x0: float, x1: float) -> None:
    """Two oak shelves with plates, cups and jars."""
    for y in (1.5, 1.95):
        left, top, right, bottom = c.front(x0, x1, y, y + 0.045, 5.45)
        c.shade(rect(left + 6, bottom, right + 6, bottom + 26), opacity=0.5, blur=12)
        x = left + 26
        while x < right - 60:
            wide, tall = rng.uniform(30, 58), rng.uniform(40, 92)
            tone = rng.choice(("#f1e9da", "#d9cdb8", "#8fa1a5", CLAY, "#e8dfcd", "#7f9480"))
            body = across(mix(tone, "#fff6e6", 0.4), tone, mix(tone, SHADOW, 0.35))
            c.fill(body, rounded(x, top - tall, x + wide, top, 12))
            if tall > 66:
                c.rect(OAK, x + 3, top - tall - 7, x + wide - 3, top - tall + 5)
            x += wide + rng.uniform(8, 34)
        c.rect(down(mix(OAK, "#fff0d6", 0.25), OAK), left, top, right, bottom)


def _cabinets(c: Stage) -> None:
    """The run of cabinets under the window, with worktop, sink tap and range."""
    c.block(Block(-3.0, 3.0, 0.0, 0.1, 5.1, 5.6), INK)
    c.block(Block(-3.0, 3.0, 0.1, 0.88, 5.0, 5.6), CABINET)
    for i in range(8):
        x = -2.98 + i * 0.75
        left, top, right, bottom = c.front(x, x + 0.7, 0.14, 0.84, 5.0)
        c.shade(ribbon([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], 4), opacity=0.55)
        c.light(rect(left + 18, top + 20, right - 18, top + 24), opacity=0.2)
        middle = (left + right) / 2
        c.fill(BRASS, rounded(middle - 26, top + 36, middle + 26, top + 43, 3))
    c.block(Block(-3.0, 3.0, 0.88, 0.93, 4.97, 5.6), "#e6dcc9")
    x, y = c.at(0, 0.93, 5.35)
    tap = smooth([(x, y), (x, y - 74), (x + 22, y - 100), (x + 48, y - 84), (x + 50, y - 58)], False)
    c.fill(across(BRASS, "#e6c98a", BRASS), ribbon(tap, 9))
    vase(c, *c.at(-0.66, 0.93, 5.3), 92, LINEN)
    left, top, right, bottom = c.front(1.9, 2.35, 0.93, 1.3, 5.4)
    c.fill(across("#c59a68", "#a87c4d"), rounded(left, top, right - 40, bottom, 18))


def _island(c: Stage) -> None:
    """The island: green panels, thick oak top, stools, a bowl of lemons and a vase."""
    body = Block(-1.5, 1.5, 0.0, 0.86, 3.35, 4.15)
    c.grounded(body, 0.6, 0.2)
    c.block(body, mix(CABINET, "#1b2a24", 0.12))
    left, top, right, bottom = c.front(-1.5, 1.5, 0.0, 0.86, 3.35)
    step = (right - left) / 30
    c.shade(*(rect(left + i * step, top, left + i * step + 4, bottom) for i in range(31)), opacity=0.5)
    c.shade(rect(left, top, right, top + 70), opacity=0.5, blur=22)
    c.block(Block(-1.65, 1.65, 0.86, 0.93, 3.2, 4.25), OAK, 0.015, 0.4)
    for x in (-1.0, 0.0, 1.0):
        _stool(c, x)
    x, y = c.at(0.42, 0.93, 3.75)
    for dx, dy in ((-46, -54), (4, -62), (50, -54), (-18, -82), (30, -84)):
        c.fill(across(mix(MUSTARD, "#fff0a0", 0.45), MUSTARD), ellipse(x + dx, y + dy, 31, 25))
    c.shade(ellipse(x, y + 2, 96, 14), opacity=0.5, blur=8)
    bowl = [*ellipse(x, y - 46, 104, 46, 0, pi)]
    c.fill(across("#f4eee2", "#d9cdb8", "#a99c88"), bowl, rect(x - 34, y - 8, x + 34, y + 4))
    x, y = c.at(-0.75, 0.93, 3.8)
    vase(c, x, y, 150, "#8fa1a5")
    sprigs(c, Random(2), (x, y - 142), 260, "#7f9480", 9)


def _stool(c: Stage, x: float) -> None:
    """A bar stool in oak and leather."""
    left, top, right, bottom = c.front(x - 0.19, x + 0.19, 0.0, 0.66, 3.0)
    c.shade(ellipse((left + right) / 2, bottom, 150, 22), opacity=0.5, blur=12)
    legs = [
        ribbon([(left + 34, top), (left - 4, bottom)], 18, 12),
        ribbon([(right - 34, top), (right + 4, bottom)], 18, 12),
    ]
    c.fill(WALNUT, *legs, rect(left + 6, bottom - 110, right - 6, bottom - 98))
    c.fill(down("#a9774c", "#6d4630"), rounded(left, top - 30, right, top + 14, 20))
    c.fill("#c08d5f", ellipse((left + right) / 2, top - 22, (right - left) / 2 - 3, 15))


def bath() -> Image.Image:
    """The bathroom: a freestanding tub under the window, sage tiles, brass and oak."""
    c, rng = Stage(SIZE, (1200, 730), 1750, 1.35), Random(12)
    room = Room(-2.5, 2.5, 2.7, 4.9)
    c.shell(room, "#e6ded0", "#efe8db")
    c.tiles(room, "#cdc2b0", "#9a8d7b", 0.5)
    wall_tiles(c, rng, (-2.5, 2.5, 0, 1.12), 4.9, "#8da08e", 0.125)
    window(c, -1.5, 0.5, 1.22, 2.35, 4.9, 3, DUSK, 21)
    c.light([c.at(-1.2, 0, 4.7), c.at(0.6, 0, 4.7), c.at(1.2, 0, 3.0), c.at(-1.2, 0, 3.0)], opacity=0.2, blur=40)
    _vanity(c)
    _tub(c)
    _stool_and_towel(c)
    foot = c.at(-2.0, 0, 4.3)
    pot(c, *foot, 190, 180, CLAY)
    rubber_plant(c, rng, (foot[0], foot[1] - 176), 560, "#47664d", 40)
    return c.finish(0.34)


def _tub(c: Stage) -> None:
    """The freestanding tub, its brass tap and the water's edge."""
    left, top, right, bottom = c.front(-1.35, 0.55, 0, 0.62, 3.7)
    wide, middle = right - left, (left + right) / 2
    c.shade(ellipse(middle, bottom, wide * 0.5, 60), opacity=0.65, blur=24)
    _tub_tap(c, right + 64, top, bottom)
    rim = ellipse(middle, top, wide / 2, 62)
    hull = smooth(
        [
            (left, top),
            (left + wide * 0.05, top + 150),
            (left + wide * 0.16, bottom - 16),
            (middle, bottom),
            (right - wide * 0.16, bottom - 16),
            (right - wide * 0.05, top + 150),
            (right, top),
        ],
        False,
    )
    c.fill(across("#d8d0c2", "#fbf7ef", "#efe8dc", "#b5aa9b"), hull, ellipse(middle, top, wide / 2, 62, 0, pi))
    c.shade([(x, y + 26) for x, y in hull[30:]], opacity=0.1, blur=40)
    c.fill(across("#fffaf0", "#f4eee2", "#ddd3c4"), rim)
    c.fill(down("#b9ad9c", "#d8cebd"), ellipse(middle, top + 2, wide / 2 - 26, 46))
    c.fill(across("#a9c0c0", "#c8d5d0", "#9db5b6"), ellipse(middle, top + 15, wide / 2 - 66, 31))
    towel = rounded(left + wide * 0.2, top + 38, left + wide * 0.4, top + 262, 10)
    c.shade([(x + 8, y + 8) for x, y in towel], opacity=0.35, blur=12)
    c.fill(across("#dcae4a", MUSTARD, "#c08d2a"), towel)
    for y in (206, 222):
        c.rect("#f0e0b4", left + wide * 0.2, top + y, left + wide * 0.4, top + y + 7)


def _tub_tap(c: Stage, x: float, top: float, bottom: float) -> None:
    """A brass tap standing on the floor beside the tub, its spout over the rim."""
    spout = [(x, top - 126), (x - 14, top - 156), (x - 94, top - 156), (x - 122, top - 120)]
    post = [(x, bottom - 30), (x, top - 130)]
    c.fill(BRASS, ribbon(post, 13), ribbon(smooth(spout, False), 13))
    c.fill(mix(BRASS, SHADOW, 0.35), ellipse(x, bottom - 28, 30, 9))


def _vanity(c: Stage) -> None:
    """An oak washstand with a round mirror and two wall lamps."""
    px, py = c.at(1.55, 1.68, 4.88)
    for x in (0.95, 2.15):
        lx, ly = c.at(x, 1.7, 4.88)
        c.glow(lx, ly, 330, 330, 0.55)
        c.fill(BRASS, rect(lx - 5, ly + 40, lx + 5, ly + 66))
        c.fill("#fff2d4", ellipse(lx, ly, 40, 40))
    c.shade(ellipse(px + 8, py + 16, 150, 150), opacity=0.45, blur=16)
    c.fill(BRASS, ellipse(px, py, 148, 148))
    c.fill(down("#aebcc0", "#d9d8cf", "#b8b3a6"), ellipse(px, py, 138, 138))
    c.light(
        [(px - 90, py + 60), (px - 40, py + 100), (px + 100, py - 60), (px + 60, py - 100)],
        opacity=0.2,
        blur=5,
        colour="#ffffff",
    )
    stand = Block(0.95, 2.2, 0.42, 0.82, 4.3, 4.88)
    c.grounded(Block(0.95, 2.2, 0, 0.1, 4.4, 4.88), 0.45)
    c.block(stand, OAK, 0.01)
    left, top, right, bottom = c.front(0.95, 2.2, 0.42, 0.82, 4.3)
    c.shade(rect((left + right) / 2 - 2, top, (left + right) / 2 + 2, bottom), opacity=0.6)
    c.block(Block(0.92, 2.23, 0.82, 0.86, 4.27, 4.88), "#f0e9dc")
    bx, by = c.at(1.5, 0.86, 4.5)
    c.fill(
        across("#fbf7ef", "#e6ddcf", "#b8ad9d"),
        ellipse(bx, by - 46, 110, 58, 0, pi),
        ellipse(bx, by - 46, 110, 16),
    )
    vase(c, *c.at(2.02, 0.86, 4.5), 84, "#7d8f94")


def _stool_and_towel(c: Stage) -> None:
    """A wooden stool with folded towels beside the tub."""
    left, top, right, bottom = c.front(0.95, 1.35, 0, 0.45, 3.3)
    c.shade(ellipse((left + right) / 2, bottom, 150, 26), opacity=0.6, blur=14)
    c.fill(
        mix(WALNUT, OAK, 0.3),
        ribbon([(left + 26, top), (left + 4, bottom)], 20, 14),
        ribbon([(right - 26, top), (right - 4, bottom)], 20, 14),
    )
    c.fill(down(mix(OAK, "#fff0d6", 0.2), OAK), rounded(left - 10, top - 8, right + 10, top + 22, 10))
    for i, tone in enumerate(("#e9e0cf", "#b5714f", "#8da08e")):
        y = top - 10 - i * 34
        c.fill(
            down(mix(tone, "#fff6e6", 0.3), tone, mix(tone, SHADOW, 0.3)),
            rounded(left + 8, y - 34, right - 10, y, 16),
        )
