"""The photos of the demo property, Heron House, as files in this folder; README.md tells how they were made."""

from dataclasses import dataclass
from pathlib import Path

JPEG, WEBP = "image/jpeg", "image/webp"


@dataclass(frozen=True)
class Photo:
    """A demo photo: a file in this folder, its description and its media type."""

    file_name: str
    alt_text: str
    type: str = JPEG

    def read(self) -> bytes:
        """Return the file's bytes."""
        return Path(__file__).with_name(self.file_name).read_bytes()


PHOTOS = (
    Photo("heron-house-dusk.jpg", "Heron House at dusk, its windows lit, mirrored in the pond"),
    Photo("living-room.jpg", "Living room with a green sofa and a wall of glass facing the lake"),
    Photo("main-bedroom.jpg", "Main bedroom with a linen bed, oak panelling and two lit lamps"),
    Photo("kitchen.jpg", "Kitchen with green cabinets, an oak island and three pendant lamps"),
    Photo("bathroom.webp", "Bathroom with a freestanding tub below a window at nightfall", WEBP),
    Photo("terrace.jpg", "Terrace with a pool running out towards the lake, a heron at its edge"),
    Photo("reading-corner.jpg", "Reading corner with a mustard armchair beside a bookshelf"),
    Photo("garden-gate.jpg", "Open garden gate under a climbing plant, a path leading to the lake"),
)
"""In gallery order, the cover first. The last is a portrait whose pixels are rotated, with an EXIF orientation."""
