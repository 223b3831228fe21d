"""Heron House from inside: living room, bedroom and reading corner."""

from __future__ import annotations

from random import Random

from PIL import Image

from portal.demo.canvas import SHADOW, across, down, mix
from portal.demo.furniture import armchair, beams, round_table, sofa, window
from portal.demo.landscape import AFTERNOON
from portal.demo.props import (
    CLAY,
    GREEN,
    INK,
    LINEN,
    MUSTARD,
    OAK,
    PLASTER,
    WALNUT,
    curtain,
    cushion,
    floor_lamp,
    picture,
    pot,
    rubber_plant,
    sprigs,
    table_lamp,
    vase,
)
from portal.demo.shapes import rect, ribbon, rounded
from portal.demo.stage import Block, Room, Stage

SIZE = (2400, 1600)
FLOOR = ("#8e6642", "#c09a70")


def living() -> Image.Image:
    """The living room: green sofa, the lake filling a wall of glass."""
    c, rng = Stage(SIZE, (1200, 790), 1750, 1.3), Random(3)
    room = Room(-3.0, 3.0, 2.75, 5.6)
    c.shell(room, PLASTER, "#efe8da")
    beams(c, room, 5)
    c.boards(rng, room, FLOOR)
    window(c, -2.35, 0.75, 0.06, 2.3, 5.6, 4, AFTERNOON, 8)
    c.fill(INK, rect(*c.front(-2.95, 1.35, 2.4, 2.43, 5.55)))
    curtain(c, rng, c.front(-2.9, -2.3, 0.02, 2.4, 5.5))
    curtain(c, rng, c.front(0.75, 1.2, 0.02, 2.4, 5.5))
    c.rug(-1.5, 2.2, 2.95, 4.5, "#d9cfbd", "#6f7f74")
    for x in (-2.2, -1.42, -0.64, 0.14):
        c.light(
            [c.at(x, 0, 5.4), c.at(x + 0.68, 0, 5.4), c.at(x + 1.3, 0, 3.3), c.at(x + 0.5, 0, 3.3)],
            opacity=0.36,
            blur=9,
            colour="#ffdf9e",
        )
    picture(c, c.front(1.62, 2.4, 1.28, 2.22, 5.58))
    floor_lamp(c, *c.at(2.68, 0, 5.1), c.size(1.75, 5.1))
    sofa(c, Block(0.15, 2.45, 0, 0.84, 4.05, 5.05), "#3f5d4c")
    for x, colour, tilt in ((0.68, MUSTARD, 0.18), (1.02, LINEN, -0.1), (2.0, "#7d8f94", -0.2)):
        px, py = c.at(x, 0.64, 4.5)
        cushion(c, px, py, c.size(0.44, 4.5), colour, tilt)
    pot(c, *c.at(-2.3, 0, 4.5), c.size(0.46, 4.5), c.size(0.42, 4.5), "#c9bba5")
    x, y = c.at(-2.3, 0.4, 4.5)
    rubber_plant(c, rng, (x, y), c.size(1.5, 4.5), "#3c5c45", 40)
    round_table(c, 0.3, 3.45, 0.55, 0.38)
    vase(c, *c.at(0.12, 0.38, 3.5), 120, "#e6ddcf")
    x, y = c.at(0.12, 0.38, 3.5)
    sprigs(c, rng, (x, y - 112), 250)
    c.block(Block(0.38, 0.68, 0.38, 0.42, 3.35, 3.55), "#8a9aa0")
    c.block(Block(0.41, 0.66, 0.42, 0.45, 3.37, 3.53), CLAY)
    return c.finish()


def bedroom() -> Image.Image:
    """The main bedroom: a linen bed against oak panelling, lamps lit, dusk outside."""
    c, rng = Stage(SIZE, (1200, 720), 1700, 1.35), Random(4)
    room = Room(-2.55, 2.55, 2.7, 5.2)
    c.shell(room, "#e6dccb", "#efe6d8")
    c.boards(rng, room, ("#7d5a3d", "#ab8660"))
    _panelling(c, room)
    _side_window(c, rng, room)
    c.rug(-1.9, 1.9, 2.5, 4.6, "#cfc7b8", "#8a7f6f")
    picture(c, c.front(-0.62, 0.62, 1.5, 2.3, 5.18), "hills", OAK)
    for x in (-1.5, 1.5):
        stand = Block(x - 0.27, x + 0.27, 0.12, 0.5, 4.7, 5.12)
        c.grounded(stand)
        c.block(stand, WALNUT, 0.02)
        px, py = c.at(x, 0.5, 4.85)
        table_lamp(c, px, py, c.size(0.55, 4.85))
    _bed(c)
    return c.finish(0.34)


def _panelling(c: Stage, room: Room) -> None:
    """Vertical oak slats over the lower part of the far wall."""
    left, top, right, bottom = c.front(room.left, room.right, 0, 1.32, room.back)
    c.rect(across("#8f6a47", "#b08659", "#a87f55", "#86623f"), left, top, right, bottom)
    step = (right - left) / 58
    c.shade(*(rect(left + i * step, top, left + i * step + step * 0.3, bottom) for i in range(58)), opacity=0.62)
    c.rect(mix(OAK, "#fff0d6", 0.3), left, top - 10, right, top)
    c.shade(rect(left, bottom - 40, right, bottom), opacity=0.4, blur=20)


def _side_window(c: Stage, rng: Random, room: Room) -> None:
    """A tall window in the left wall: dusk sky, hills, curtains, cool light across the floor."""
    x = room.left
    c.fill(down("#3a4f69", "#6d8196", "#e2bf9d", "#8c8f92", "#41535c"), c.side(x, 0.3, 2.35, 3.2, 4.4))
    hill = [c.at(x, 1.18, 4.4), c.at(x, 1.42, 4.1), c.at(x, 1.3, 3.8), c.at(x, 1.55, 3.4), c.at(x, 1.4, 3.2)]
    c.fill(down("#4d6069", "#2c3e43"), [*hill, c.at(x, 0.95, 3.2), c.at(x, 0.95, 4.4)])
    bars = [c.side(x, 0.3, 2.35, z, z + 0.05) for z in (3.2, 3.8, 4.38)]
    c.fill(INK, *bars, c.side(x, 2.32, 2.37, 3.2, 4.43), c.side(x, 0.27, 0.32, 3.2, 4.43))
    for i in range(7):
        z, tone = 4.4 + i * 0.085, mix(LINEN, SHADOW, rng.uniform(0.02, 0.2))
        c.fill(across(tone, mix(tone, SHADOW, 0.22)), c.side(x + 0.04, 0.02, 2.5, z, z + 0.085))
    c.light(c.flat(x, x + 1.5, 3.0, 4.4), opacity=0.25, blur=40, colour="#a9bfd6")


def _bed(c: Stage) -> None:
    """The bed seen from its foot."""
    base = Block(-1.05, 1.05, 0.0, 0.3, 3.05, 5.15)
    c.grounded(base, 0.7, 0.15)
    board = Block(-1.18, 1.18, 0.25, 1.16, 5.06, 5.18)
    c.block(board, "#71857a", 0.06)
    left, top, right, bottom = c.front(board.x0, board.x1, board.y0, board.y1, board.z0)
    seams = [
        ribbon([(left + (right - left) * k / 8, top + 8), (left + (right - left) * k / 8, bottom)], 6)
        for k in range(1, 8)
    ]
    c.shade(*seams, opacity=0.4, blur=4)
    c.block(base, WALNUT, 0.03)
    c.block(Block(-1.0, 1.0, 0.3, 0.56, 3.1, 5.05), "#e8e1d4", 0.08)
    for x, y, wide, tone in (
        (-0.5, 0.72, 0.8, "#cfc6b6"),
        (0.5, 0.72, 0.8, "#cfc6b6"),
        (-0.46, 0.68, 0.74, "#f4efe6"),
        (0.46, 0.68, 0.74, "#f4efe6"),
    ):
        left, top, right, bottom = c.front(x - wide / 2, x + wide / 2, 0.54, y + 0.16, 4.75)
        c.shade(rounded(left, top + 10, right, bottom + 14, 50), opacity=0.3, blur=14)
        c.fill(
            down(mix(tone, "#fff4e0", 0.4), tone, mix(tone, SHADOW, 0.25)),
            rounded(left, top, right, bottom, 52),
        )
    px, py = c.at(0, 0.66, 4.5)
    cushion(c, px, py, c.size(0.36, 4.5), "#3f5d4c", 0.06)
    c.block(Block(-1.06, 1.06, 0.16, 0.6, 3.02, 4.35), "#e9e1d2", 0.09, 0.6)
    for tone, z0, z1 in ((mix("#fbf6ec", SHADOW, 0.07), 4.15, 4.36), (MUSTARD, 3.35, 3.8)):
        c.fill(down(mix(tone, "#fff0d6", 0.2), tone), c.flat(-0.99, 0.99, z0, z1, 0.603))
        for x, edge in ((-0.99, -1.062), (0.99, 1.062)):
            slope = [c.at(x, 0.603, z0), c.at(edge, 0.53, z0), c.at(edge, 0.53, z1), c.at(x, 0.603, z1)]
            c.fill(mix(tone, SHADOW, 0.18), slope)
    left, top, right, bottom = c.front(-1.06, 1.06, 0.16, 0.6, 3.02)
    folds = [ribbon([(x, top + 6), (x + 14, bottom - 10)], 9) for x in range(round(left) + 60, round(right), 128)]
    c.shade(*folds, opacity=0.22, blur=9)


def reading() -> Image.Image:
    """The reading corner: a mustard armchair between bookshelf and window light."""
    c, rng = Stage(SIZE, (1200, 700), 2180, 1.22), Random(9)
    room = Room(-2.35, 2.35, 3.0, 4.6)
    c.shell(room, "#b4bdae", "#e6dfd0")
    c.boards(rng, room, FLOOR)
    _bookshelf(c, rng)
    picture(c, c.front(0.1, 0.66, 1.36, 2.06, 4.58), "hills")
    _window_light(c)
    c.rug(-1.3, 1.6, 2.95, 4.4, "#e1d8c7", "#8f7a5c")
    floor_lamp(c, *c.at(1.32, 0, 4.25), c.size(1.78, 4.25))
    armchair(c, Block(-0.1, 0.95, 0, 1.02, 3.3, 4.2))
    px, py = c.at(0.36, 0.64, 3.75)
    cushion(c, px, py, c.size(0.36, 3.75), LINEN, 0.1)
    round_table(c, -0.62, 3.5, 0.27, 0.5, WALNUT)
    x, y = c.at(-0.62, 0.5, 3.5)
    c.fill(across("#f4eee2", "#cfc4b1"), rounded(x + 16, y - 56, x + 82, y + 4, 16))
    vase(c, x - 62, y - 4, 118, "#7d8f94")
    sprigs(c, rng, (x - 62, y - 116), 250, "#8d9b7c", 8)
    foot = c.at(1.7, 0, 3.8)
    pot(c, *foot, 220, 200, CLAY)
    rubber_plant(c, rng, (foot[0], foot[1] - 196), 720, "#3c5c45", 40)
    return c.finish(0.36)


def _bookshelf(c: Stage, rng: Random) -> None:
    """An oak shelf built into the wall, full of books and a few objects."""
    left, top, right, bottom = c.front(-2.1, -0.75, 0, 2.35, 4.6)
    c.shade(rect(left - 10, top, right + 24, bottom), opacity=0.35, blur=18)
    c.rect(across("#7f5d40", "#94704e"), left, top, right, bottom)
    board = c.size(0.04, 4.6)
    tones = ("#4a6272", "#7d8f94", GREEN, "#b5714f", "#d8ccb6", "#8d9b7c", "#5b4636", "#c9b998", "#35485a")
    rows = 5
    tall = (bottom - top - board) / rows
    for row in range(rows):
        floor = top + (row + 1) * tall
        c.rect(down("#5a412d", "#6e5138"), left + board, floor - tall + board, right - board, floor)
        x = left + board + 8
        while x < right - board - 60:
            if rng.random() < 0.1:
                x += rng.uniform(30, 80)
                continue
            wide, high = rng.uniform(15, 36), tall * rng.uniform(0.58, 0.82)
            tone = mix(rng.choice(tones), SHADOW, 0.1)
            c.rect(
                across(mix(tone, "#fff0d6", 0.2), tone, mix(tone, SHADOW, 0.3)),
                x,
                floor - high,
                x + wide,
                floor,
            )
            c.rect(mix(tone, "#fff0d6", 0.4), x, floor - high * 0.84, x + wide, floor - high * 0.8)
            x += wide + 1
        c.shade(
            rect(left + board, floor - tall + board, right - board, floor - tall + board + 18),
            opacity=0.5,
            blur=8,
        )
    c.fill(OAK, *(rect(left, top + k * tall, right, top + k * tall + board) for k in range(rows + 1)))
    c.fill(OAK, rect(left, top, left + board, bottom), rect(right - board, top, right, bottom))


def _window_light(c: Stage) -> None:
    """Late sun through an unseen window, falling across wall and floor."""
    for i in range(2):
        for k in range(3):
            x, y = -0.35 + i * 0.52, 2.3 - k * 0.48
            pane = [
                c.at(x, y, 4.6),
                c.at(x + 0.47, y - 0.12, 4.6),
                c.at(x + 0.47, y - 0.56, 4.6),
                c.at(x, y - 0.44, 4.6),
            ]
            c.light(pane, opacity=0.4, blur=6, colour="#ffd890")
