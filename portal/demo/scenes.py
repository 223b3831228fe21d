"""The eight photos of the demo property, Heron House, in gallery order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from portal.demo.scenes_garden import gate
from portal.demo.scenes_inside import bedroom, living, reading
from portal.demo.scenes_outside import house, terrace
from portal.demo.scenes_rooms import bath, kitchen

JPEG, WEBP = "image/jpeg", "image/webp"
ORIENTATION = 0x0112
TURNED_RIGHT = 6  # "turn me a quarter clockwise to see me upright"


@dataclass(frozen=True)
class Scene:
    """One demo photo: its name, its words, its media type and how to draw it."""

    file_name: str
    alt_text: str
    type: str
    draw: Callable[[], Image.Image]

    def encoded(self) -> bytes:
        """The photo as a camera would hand it over; an upright one lies on its side, tagged to be turned."""
        image, exif, file = self.draw(), Image.Exif(), BytesIO()
        if image.height > image.width:
            image = image.transpose(Image.Transpose.ROTATE_90)
            exif[ORIENTATION] = TURNED_RIGHT
        if self.type == WEBP:
            image.save(file, "WEBP", quality=88, method=0)
        else:
            image.save(file, "JPEG", quality=88, exif=exif)
        return file.getvalue()


def scenes() -> Iterator[Scene]:
    """The demo photos, cover first; each is drawn only when its bytes are asked for."""
    yield Scene("heron-house-dusk.jpg", "Heron House at dusk, its windows lit, mirrored in the pond", JPEG, house)
    yield Scene("living-room.jpg", "Living room with a green sofa and a wall of glass facing the lake", JPEG, living)
    yield Scene("main-bedroom.jpg", "Main bedroom with a linen bed, oak panelling and two lit lamps", JPEG, bedroom)
    yield Scene("kitchen.jpg", "Kitchen with green cabinets, an oak island and three pendant lamps", JPEG, kitchen)
    yield Scene("bathroom.webp", "Bathroom with a freestanding tub below a window at nightfall", WEBP, bath)
    yield Scene("terrace.jpg", "Terrace with a pool running out towards the lake, a heron at its edge", JPEG, terrace)
    yield Scene("reading-corner.jpg", "Reading corner with a mustard armchair beside a bookshelf", JPEG, reading)
    yield Scene("garden-gate.jpg", "Open garden gate under a climbing plant, a path leading to the lake", JPEG, gate)
