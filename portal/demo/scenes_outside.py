"""Heron House from outside: the house at dusk, the terrace over the water, the garden gate."""

from __future__ import annotations

from math import pi
from random import Random

from PIL import Image

from portal.demo.canvas import LAMP, Canvas, Shape, across, down, mix
from portal.demo.furniture import round_table, sofa
from portal.demo.landscape import (
    AFTERNOON,
    DUSK,
    clouds,
    glints,
    grasses,
    hills,
    lake,
    shrub,
    sky,
    tree,
    wood,
)
from portal.demo.props import (
    INK,
    MUSTARD,
    WALNUT,
    cushion,
    heron,
    lantern,
    pendant,
    pot,
    rubber_plant,
    vase,
)
from portal.demo.shapes import ellipse, leaf, rect, ribbon
from portal.demo.stage import Block, Stage

LANDSCAPE = (2400, 1600)
GLOW = down("#ffdf9f", "#fbc878", "#e79a4e")


def house() -> Image.Image:
    """The house and garden at dusk, lit from within and mirrored in the pond."""
    c, rng = Canvas(*LANDSCAPE), Random(11)
    sky(c, DUSK, 1030, 0.24)
    clouds(c, rng, 900, "#f0b98c", 12)
    for _ in range(34):
        x, y, r = rng.uniform(0, 2400), rng.uniform(10, 420), rng.uniform(0.9, 2.1)
        c.light(ellipse(x, y, r, r), opacity=0.7, colour="#e8eefc")
    hills(c, rng, DUSK, 1030, 1.15)
    wood(c, rng, DUSK, [(-0.02, 0.15), (0.3, 0.42), (0.8, 1.04)], 1046, 430)
    c.rect(down("#3b4a3f", "#27352f"), 0, 1040, 2400, 1250)
    _wing(c)
    _gable(c)
    _terrace_front(c, rng)
    c.mirror(1082, 1250, 350, "#8994a6", 7)
    glints(c, rng, 1258, 1600, 1530, LAMP, 60)
    c.shade(rect(0, 1246, 2400, 1262), opacity=0.7, blur=5, colour="#131c1e")
    c.shade(rect(-60, 1480, 2460, 1660), opacity=0.55, blur=60, colour="#18222c")
    grasses(c, rng, 40, 560, 1275, 130, "#2a382f")
    grasses(c, rng, 1880, 2380, 1275, 120, "#2a382f")
    grasses(c, rng, -40, 420, 1620, 300, "#141d1c")
    grasses(c, rng, 2050, 2440, 1620, 260, "#141d1c")
    heron(c, 610, 1345, 230, "#1b2730")
    return c.finish(0.36)


def _wing(c: Canvas) -> None:
    """The low wing: plaster, a wide window, the mustard front door."""
    c.rect(across("#77757a", "#8e8a88", "#a39a8f"), 470, 770, 1190, 1046)
    c.shade(rect(470, 770, 1190, 800), opacity=0.6, blur=14)
    c.rect(down("#2f3338", "#1f2327"), 420, 722, 1215, 768)
    c.rect("#50565c", 420, 718, 1215, 724)
    c.rect(GLOW, 560, 824, 860, 1000)
    c.fill("#a8683a", rect(560, 925, 650, 1000), ellipse(800, 985, 60, 40), opacity=0.55)
    c.fill("#7c4c2b", ribbon([(716, 824), (716, 862)], 3), ellipse(716, 872, 26, 12), opacity=0.8)
    c.glow(716, 880, 120, 90, 0.7)
    c.fill(INK, *(rect(x - 4, 824, x + 4, 1000) for x in (560, 660, 760, 860)), rect(556, 820, 864, 828))
    c.fill(INK, rect(556, 996, 864, 1006))
    c.rect(down(mix(MUSTARD, "#000000", 0.12), mix(MUSTARD, "#000000", 0.3)), 980, 838, 1084, 1046)
    c.fill("#6d4b1a", ribbon([(1064, 930), (1064, 972)], 6))
    c.rect(GLOW, 1094, 838, 1126, 1046)
    c.glow(1032, 815, 190, 240, 0.55)
    c.rect("#ffe9bd", 1020, 800, 1044, 812)
    c.light(rect(540, 1000, 880, 1046), opacity=0.25, blur=22)


def _gable(c: Canvas) -> None:
    """The tall volume: a glazed gable under a dark steep roof, the living room glowing behind it."""
    c.rect(down("#3a3c40", "#2a2c30"), 1700, 300, 1775, 520)
    roof = [(1540, 318), (1960, 664), (1960, 1046), (1120, 1046), (1120, 664)]
    c.fill(across("#3d332d", "#4a3c32", "#38302c"), roof)
    c.shade(*(rect(x, 330 + abs(x - 1540) * 0.83, x + 3, 1046) for x in range(1130, 1960, 21)), opacity=0.4)
    glass = [(1540, 420), (1890, 708), (1890, 1040), (1190, 1040), (1190, 708)]
    c.fill(down("#d98f49", "#f4b767", "#ffdc9a", "#fbd08a"), glass)
    c.shade(rect(1190, 740, 1890, 752), opacity=0.25, blur=6)
    c.fill("#c47f42", rect(1190, 700, 1330, 1040), opacity=0.35)
    _living_silhouette(c)
    c.fill("#8a5a34", [(1540, 470), (1880, 752), (1540, 452 + 36), (1200, 752)], opacity=0.35, blur=2)
    bars = [rect(x - 6, 1040 - (1040 - 700), x + 6, 1040) for x in (1365, 1715)]
    bars += [rect(1534, 420, 1546, 1040), rect(1190, 702, 1890, 718), rect(1184, 700, 1198, 1040)]
    c.fill(INK, *bars, rect(1882, 700, 1896, 1040), rect(1184, 1030, 1896, 1044))
    eaves = ribbon([(1070, 712), (1540, 324), (2010, 712)], 46)
    c.fill(across("#20242a", "#3d444d", "#262a30"), eaves)
    c.glow(1540, 820, 760, 520, 0.34)


def _living_silhouette(c: Canvas) -> None:
    """Furniture and lamps seen against the light."""
    dark = "#8b5730"
    c.fill(dark, rect(1420, 960, 1640, 1040), rect(1405, 935, 1655, 985), opacity=0.75)
    c.fill("#6a5a34", *(leaf(1800, 1000, -pi / 2 + k * 0.35, 150 - abs(k) * 14, 44)[0] for k in range(-3, 4)))
    c.fill(dark, rect(1775, 985, 1825, 1040))
    c.fill("#5b4a3c", rect(1226, 790, 1326, 910), opacity=0.5)
    c.fill("#f6dca6", rect(1238, 802, 1314, 898), opacity=0.6)
    for x in (1480, 1600):
        c.fill("#6b4426", ribbon([(x, 500), (x, 798)], 3), ellipse(x, 806, 30, 13))
        c.glow(x, 816, 110, 90, 0.8)


def _terrace_front(c: Canvas, rng: Random) -> None:
    """The deck, light spilling over the lawn, path lanterns and planting."""
    spill = [(1200, 1060), (1880, 1060), (2080, 1235), (1000, 1235)]
    c.light(spill, opacity=0.42, blur=34, colour="#e0a45c")
    c.light([(560, 1060), (860, 1060), (900, 1180), (500, 1180)], opacity=0.25, blur=26, colour="#e0a45c")
    c.rect(down("#8c6f57", "#4e4038"), 430, 1044, 1990, 1066)
    c.light(rect(1180, 1044, 1900, 1064), opacity=0.4, blur=10)
    steps = [rect(1440 - 20 * i, 1066 + 16 * i, 1640 + 20 * i, 1080 + 16 * i) for i in range(3)]
    c.fill("#6d5a4c", *steps)
    for x, width, tall in ((380, 260, 150), (930, 90, 70), (2060, 300, 190), (1150, 90, 74), (1930, 130, 90)):
        shrub(c, rng, x, 1068, width, tall, "#2b4236")
    for x, foot in ((1330, 1120), (1750, 1120), (1250, 1190), (1830, 1190)):
        lantern(c, x, foot, 48)
    for x, tall, lean in ((250, 620, 0.1), (2200, 520, -0.1)):
        tree(c, rng, (x, 1080), tall, lean, ("#1b2b28", "#263a33", "#3a4b3c"))


def terrace() -> Image.Image:
    """The terrace in late afternoon: a pool that runs out into the view of the lake."""
    c, rng = Stage(LANDSCAPE, (1200, 690), 1500, 1.6), Random(23)
    lake(c, rng, AFTERNOON, 690, 0.6)
    c.fill(down("#c2aa8b", "#a98865", "#8d6c4d"), c.flat(-9, 9, 0.9, 8.6))
    c.shade(*(c.flat(-9, 9, 8.6 - k * 0.16, 8.6 - k * 0.16 + 0.014) for k in range(42)), opacity=0.5)
    c.light(c.flat(-9, -1, 6.4, 8.6), opacity=0.3, blur=40, colour="#ffe3b0")
    _pool(c, rng)
    _pergola(c)
    lounge = Block(-3.35, -1.15, 0, 0.78, 4.2, 5.1)
    sofa(c, lounge, "#d9cfbc")
    for x, colour, tilt in ((-2.85, "#7d8f94", 0.12), (-1.75, MUSTARD, -0.16)):
        px, py = c.at(x, 0.6, 4.6)
        cushion(c, px, py, c.size(0.42, 4.6), colour, tilt)
    round_table(c, -2.0, 3.45, 0.38, 0.36, WALNUT)
    vase(c, *c.at(-2.08, 0.36, 3.45), 84, "#a9b7b4")
    lantern(c, *c.at(-1.86, 0.36, 3.4), 96)
    x, y = c.at(3.05, 0, 4.9)
    pot(c, x, y, 190, 175, "#b9a58c")
    rubber_plant(c, rng, (x, y - 172), 470, "#48654c", 36)
    heron(c, *c.at(1.05, 0.04, 8.3), 230, "#3d4c5a", flip=True)
    c.glow(1440, 620, 900, 560, 0.34, "#fff0cc")
    return c.finish(0.26)


def _pool(c: Stage, rng: Random) -> None:
    """The pool: stone rim, water taking the colours of the sky, sun on its ripples."""
    c.fill("#ddd3c1", c.flat(-0.5, 2.55, 2.2, 8.6))
    water = c.flat(-0.25, 2.3, 2.4, 8.75)
    c.fill(down("#e9e2cb", "#a9c4c4", "#6d9ba2", "#44767f"), water)
    c.shade(c.side(-0.25, -0.22, 0, 2.4, 8.6), opacity=0.25, colour="#2c5058")
    c.light(c.flat(0.4, 1.1, 2.6, 8.6), opacity=0.3, blur=36, colour="#fff0cc")
    ripples: list[Shape] = []
    for _ in range(120):
        z = rng.uniform(2.5, 8.5)
        x, y = c.at(rng.uniform(0.0, 2.1), 0, z)
        ripples.append(ellipse(x, y, c.size(rng.uniform(0.06, 0.2), z), c.size(0.008, z)))
    c.light(*ripples, opacity=0.35, colour="#f4f1dd")


def _pergola(c: Stage) -> None:
    """Posts and beams of dark wood framing the view."""
    wood_front = across(mix(WALNUT, "#000000", 0.1), mix(WALNUT, "#fff0d6", 0.15))
    for x in (-4.15, 3.95):
        c.fill(wood_front, rect(*c.front(x, x + 0.2, 0, 2.75, 5.2)))
    for k in range(9):
        c.fill(down("#4a3527", "#7a573d"), c.flat(-5 + k * 1.15, -4.82 + k * 1.15, 2.2, 5.2, 2.85))
    c.rect(down("#7c5a40", "#5a3f2d"), *c.front(-6, 6, 2.62, 2.86, 5.2))
    for x in (-2.4, -0.6):
        px, py = c.at(x, 2.2, 5.2)
        pendant(c, px, py, 62, "#3b3128", c.at(0, 2.62, 5.2)[1])
