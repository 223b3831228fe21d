"""A canvas with a camera: rooms, floors and furniture in one-point perspective, measured in metres."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from portal.demo.canvas import SHADOW, Canvas, Paint, Point, Shape, across, down, mix
from portal.demo.shapes import rect, ribbon, rounded

NEAR = 0.9


@dataclass(frozen=True)
class Room:
    """The inside of a room: side walls at `left` and `right`, ceiling at `height`, far wall at `back`."""

    left: float
    right: float
    height: float
    back: float


@dataclass(frozen=True)
class Block:
    """A box: x from left to right, y upwards, z away from the camera."""

    x0: float
    x1: float
    y0: float
    y1: float
    z0: float
    z1: float


class Stage(Canvas):
    """A canvas seen through a camera at height `eye`, looking straight ahead."""

    def __init__(
        self, size: tuple[int, int], vanish: Point, focal: float, eye: float, ground: Paint = "#000000"
    ) -> None:
        super().__init__(*size, ground)
        self.vanish, self.focal, self.eye = vanish, focal, eye

    def at(self, x: float, y: float, z: float) -> Point:
        """Where a point of the room is on the picture."""
        scale = self.focal / max(z, 0.05)
        return self.vanish[0] + x * scale, self.vanish[1] - (y - self.eye) * scale

    def size(self, metres: float, z: float) -> float:
        """How many pixels a length takes at this distance."""
        return metres * self.focal / z

    def flat(self, x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> Shape:
        """A level rectangle: floor, table top, ceiling."""
        return [self.at(x0, y, z0), self.at(x1, y, z0), self.at(x1, y, z1), self.at(x0, y, z1)]

    def side(self, x: float, y0: float, y1: float, z0: float, z1: float) -> Shape:
        """An upright rectangle running away from the camera."""
        return [self.at(x, y0, z0), self.at(x, y1, z0), self.at(x, y1, z1), self.at(x, y0, z1)]

    def front(self, x0: float, x1: float, y0: float, y1: float, z: float) -> tuple[float, float, float, float]:
        """An upright rectangle facing the camera, as left, top, right, bottom."""
        (left, top), (right, bottom) = self.at(x0, y1, z), self.at(x1, y0, z)
        return left, top, right, bottom

    def shell(self, room: Room, wall: str, ceiling: str, lit_from: str = "left") -> None:
        """The walls and ceiling of a room, lighter on the side away from its window."""
        bright, dim, dark = mix(wall, "#fff3dc", 0.35), mix(wall, SHADOW, 0.12), mix(wall, SHADOW, 0.3)
        near_left, near_right = (dim, bright) if lit_from == "left" else (bright, dim)
        self.fill(
            down(mix(ceiling, SHADOW, 0.26), ceiling, mix(ceiling, SHADOW, 0.05)),
            self.flat(room.left, room.right, NEAR, room.back, room.height),
        )
        self.fill(across(dark, near_left, wall), self.side(room.left, 0, room.height, NEAR, room.back))
        self.fill(across(wall, near_right, dark), self.side(room.right, 0, room.height, NEAR, room.back))
        back = self.front(room.left, room.right, 0, room.height, room.back)
        self.rect(down(mix(wall, SHADOW, 0.08), wall, bright, wall), *back)
        self._corners(room)

    def _corners(self, room: Room) -> None:
        """The soft darkness where walls, ceiling and floor meet."""
        left, top, right, bottom = self.front(room.left, room.right, 0, room.height, room.back)
        width = self.size(0.16, room.back)
        edges = [ribbon([(left, top), (right, top)], width), ribbon([(left, bottom), (right, bottom)], width)]
        for x in (room.left, room.right):
            here = self.at(x, 0, room.back)
            edges.append(ribbon([here, self.at(x, room.height, room.back)], width))
            edges.append(ribbon([self.at(x, room.height, room.back), self.at(x, room.height, 1.5)], width, width * 3))
        self.shade(*edges, opacity=0.34, blur=26)

    def boards(self, rng: Random, room: Room, tones: tuple[str, str], width: float = 0.19) -> None:
        """A floor of boards running away from the camera, each a slightly different wood."""
        near, far = tones
        self.fill(down(far, near), self.flat(room.left, room.right, NEAR, room.back))
        groups: dict[int, list[Shape]] = {0: [], 1: [], 2: []}
        joints: list[Shape] = []
        x = room.left
        while x < room.right:
            z = NEAR - rng.uniform(0, 1.2)
            while z < room.back:
                end = min(room.back, z + rng.uniform(1.1, 2.2))
                groups[rng.randrange(3)].append(self.flat(x, min(x + width, room.right), max(z, NEAR), end))
                if z > NEAR:
                    joints.append(self.flat(x, x + width, z, z + 0.012))
                z = end
            joints.append(self.flat(x - 0.004, x + 0.004, NEAR, room.back))
            x += width
        self.shade(*groups[0], opacity=0.13)
        self.light(*groups[1], opacity=0.07, colour="#ffe2b8")
        self.shade(*joints, opacity=0.5)

    def tiles(self, room: Room, colour: str, joint: str, side: float = 0.4) -> None:
        """A floor of square tiles."""
        self.fill(down(mix(colour, SHADOW, 0.18), colour), self.flat(room.left, room.right, NEAR, room.back))
        lines: list[Shape] = []
        for i in range(round((room.right - room.left) / side) + 1):
            x = room.left + i * side
            lines.append(self.flat(x - 0.005, x + 0.005, NEAR, room.back))
        for i in range(round((room.back - NEAR) / side) + 1):
            z = room.back - i * side
            lines.append(self.flat(room.left, room.right, z - 0.006, z + 0.006))
        self.fill(joint, *lines, opacity=0.55)

    def block(self, b: Block, colour: str, radius: float = 0.0, lit: float = 0.25) -> None:
        """A box of furniture: its top catches the light, its side turns away from it."""
        r = radius * 0.8
        top, turned = mix(colour, "#fff0d6", lit), mix(colour, SHADOW, 0.35)
        slope = mix(top, turned, 0.5)
        for x, inner, seen in (
            (b.x0, b.x0 + r, self.vanish[0] < self.at(b.x0, 0, b.z0)[0]),
            (b.x1, b.x1 - r, self.vanish[0] > self.at(b.x1, 0, b.z0)[0]),
        ):
            if seen:
                self.fill(across(turned, mix(turned, SHADOW, 0.2)), self.side(x, b.y0, b.y1 - r, b.z0, b.z1))
            if r and (seen or b.y1 < self.eye):
                ends = [self.at(x, b.y1 - r, b.z0), self.at(inner, b.y1, b.z0)]
                self.fill(slope, [*ends, self.at(inner, b.y1, b.z1), self.at(x, b.y1 - r, b.z1)])
        if b.y1 < self.eye:
            self.fill(down(mix(top, colour, 0.35), top), self.flat(b.x0 + r, b.x1 - r, b.z0, b.z1, b.y1))
        left, upper, right, lower = self.front(b.x0, b.x1, b.y0, b.y1, b.z0)
        face = down(mix(colour, top, 0.25), colour, mix(colour, SHADOW, 0.22))
        if radius:
            self.fill(face, rounded(left, upper, right, lower, self.size(radius, b.z0)))
        else:
            self.fill(face, rect(left, upper, right, lower))

    def grounded(self, b: Block, opacity: float = 0.55, spread: float = 0.12) -> None:
        """The shadow a piece of furniture leaves on the floor."""
        shape = self.flat(b.x0 - spread, b.x1 + spread, b.z0 - spread, b.z1)
        self.shade(shape, opacity=opacity, blur=max(8.0, self.size(0.07, b.z0)))

    def rug(self, x0: float, x1: float, z0: float, z1: float, colour: str, border: str) -> None:
        """A flat rug with an inner border."""
        self.shade(self.flat(x0 - 0.03, x1 + 0.03, z0 - 0.03, z1), opacity=0.4, blur=10)
        self.fill(down(mix(colour, SHADOW, 0.12), colour), self.flat(x0, x1, z0, z1))
        for inset, band in ((0.12, 0.035), (0.2, 0.012)):
            a0, a1, b0, b1 = x0 + inset, x1 - inset, z0 + inset, z1 - inset
            self.fill(
                border,
                self.flat(a0, a1, b0, b0 + band),
                self.flat(a0, a1, b1 - band, b1),
                self.flat(a0, a0 + band, b0, b1),
                self.flat(a1 - band, a1, b0, b1),
                opacity=0.8,
            )
