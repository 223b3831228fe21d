"""The garden gate of Heron House, an upright picture."""

from __future__ import annotations

from math import pi
from random import Random

from PIL import Image

from portal.demo.canvas import Canvas, Shape, across, down
from portal.demo.landscape import AFTERNOON, grasses, shrub, view
from portal.demo.props import CLAY, INK, MUSTARD, lantern, pot, rubber_plant
from portal.demo.shapes import arch, ellipse, leaf, rect, ribbon, smooth

PORTRAIT = (1600, 2400)


def gate() -> Image.Image:
    """The garden gate: through the arch a path leads down to the lake. Upright format."""
    c, rng = Canvas(*PORTRAIT), Random(31)
    c.place(_garden(rng).image, 380, 520)
    hole = arch(400, 540, 1200, 2040)
    wall = [(0, 0), (1600, 0), (1600, 2040), (1200, 2040), *reversed(hole[:-2]), (400, 2040), (0, 2040)]
    c.fill(across("#e9d8ba", "#f6ead2", "#eeddc0", "#d3bf9f"), wall)
    c.shade([(0, 0), (1600, 0), (1600, 520), (0, 150)], opacity=0.16, blur=60)
    rim = ribbon(hole[:-2], 46)
    reveal = [rect(377, 930, 423, 2040), rect(1177, 930, 1223, 2040)]
    c.fill(across("#b9a88d", "#d3c4aa", "#a8977d"), rim, *reveal)
    c.shade(rect(1150, 960, 1180, 2040), ribbon(hole[30:-2], 40), opacity=0.4, blur=20)
    _paving(c)
    _gate_leaf(c)
    _climber(c, rng)
    for x, tall in ((255, 520), (1370, 440)):
        pot(c, x, 2130, 210, 190, CLAY if x < 800 else "#8f8a7d")
        rubber_plant(c, rng, (x, 1945), tall, "#47664d", 36)
    c.fill(INK, rect(236, 984, 250, 1090), rect(243, 992, 312, 1002), rect(302, 992, 310, 1030))
    lantern(c, 306, 1166, 144)
    c.glow(800, 1000, 760, 900, 0.3, "#fff0c8")
    return c.finish(0.3)


def _garden(rng: Random) -> Canvas:
    """What the arch frames: lawn, cypresses and the path down to the lake."""
    g = view(840, 1540, AFTERNOON, 5, 0.46)
    g.fill(down("#93a37a", "#6f8a62", "#587552"), rect(0, 960, 840, 1540))
    g.light(rect(-50, 940, 890, 1010), opacity=0.3, blur=20, colour="#ffe9b0")
    g.fill(
        down("#e9dcc0", "#cdbd9f"),
        smooth(
            [
                (400, 956),
                (440, 956),
                (520, 1120),
                (430, 1250),
                (640, 1560),
                (160, 1560),
                (300, 1250),
                (430, 1100),
            ],
            steps=12,
        ),
    )
    for x, base, tall in ((110, 1120, 620), (215, 1040, 430), (735, 1090, 560), (640, 1020, 360)):
        g.shade(ellipse(x + tall * 0.1, base - 4, tall * 0.28, tall * 0.035), opacity=0.4, blur=8)
        cypress = smooth(
            [
                (x, base - tall),
                (x + tall * 0.075, base - tall * 0.5),
                (x + tall * 0.07, base - tall * 0.1),
                (x, base),
                (x - tall * 0.07, base - tall * 0.1),
                (x - tall * 0.075, base - tall * 0.5),
            ]
        )
        g.fill(across("#5b7a5c", "#3c5c47", "#2b4437"), cypress)
    for x, width in ((60, 260), (250, 130), (620, 150), (800, 260)):
        shrub(g, rng, x, 1330, width, width * 0.6, "#557a58")
    for x0, x1 in ((0, 150), (640, 840)):
        grasses(g, rng, x0, x1, 1452, 110, "#4a6a4b")
    g.rect(down("#cfc0a2", "#c3b496"), 0, 1446, 840, 1540)
    return g


def _paving(c: Canvas) -> None:
    """Stone flags in front of the wall, light falling through the arch."""
    c.rect(down("#b5a68d", "#d6c8ae"), 0, 2040, 1600, 2400)
    lines = [rect(0, y, 1600, y + 5) for y in (2096, 2172, 2274)]
    for row, (top, low) in enumerate(((2040, 2096), (2096, 2172), (2172, 2274), (2274, 2400))):
        for k in range(-6, 7):
            a, b = ((800 + (k + row % 2 * 0.5) * 260 * (y - 1500) / 640) for y in (top, low))
            lines.append([(a, top), (a + 5, top), (b + 6, low), (b, low)])
    c.shade(*lines, opacity=0.4)
    c.light([(420, 2040), (1180, 2040), (1420, 2400), (380, 2400)], opacity=0.35, blur=24, colour="#ffe6b0")
    c.shade(rect(0, 2020, 400, 2056), rect(1200, 2020, 1600, 2056), opacity=0.4, blur=12)


def _gate_leaf(c: Canvas) -> None:
    """The wooden gate, standing open on the left."""
    leaf_shape = [(404, 1000), (404, 2040), (600, 1960), (600, 1130), (520, 1020)]
    c.shade([(404, 2040), (600, 1960), (720, 2010), (480, 2100)], opacity=0.4, blur=18)
    c.fill(across("#3d5f52", "#4d7263", "#5e8574"), leaf_shape)
    c.shade(
        *(ribbon([(x, 1010 + (x - 404) * 0.3), (x, 2040 - (x - 404) * 0.41)], 5) for x in (442, 480, 520, 560)),
        opacity=0.5,
    )
    for y in (1230, 1790):
        c.fill("#35564a", ribbon([(404, y), (600, y - (y - 1500) * 0.12)], 44, 36))
    c.fill(MUSTARD, ellipse(574, 1540, 11, 13))


def _climber(c: Canvas, rng: Random) -> None:
    """A climbing plant over the wall and the arch."""
    stem = smooth([(1290, 2040), (1270, 1700), (1330, 1300), (1290, 900), (1120, 560), (820, 400), (480, 420)], False)
    c.fill("#6b5644", ribbon(stem, 16, 6))
    for tone in ("#38553f", "#4c6e4e", "#6f8f63", "#8fa873"):
        blades: list[Shape] = []
        for _ in range(130):
            x, y = stem[int(len(stem) * (0.28 + 0.72 * rng.random() ** 0.8)) - 1]
            px, py = x + rng.gauss(0, 52), y + rng.gauss(0, 46) - 20
            blades.append(leaf(px, py, rng.uniform(0, 2 * pi), rng.uniform(44, 74), 34)[0])
        c.fill(tone, *blades)
    blooms: list[Shape] = []
    for _ in range(46):
        x, y = stem[int(len(stem) * rng.uniform(0.4, 0.99))]
        px, py, r = x + rng.gauss(0, 60), y + rng.gauss(0, 55) - 20, rng.uniform(7, 13)
        blooms.append(ellipse(px, py, r, r))
    c.fill("#f6efe0", *blooms)
