"""What `inspect` returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """The type detected from the bytes; width and height as displayed, in px; EXIF's orientation, 1 to 8."""

    type: str
    width: int
    height: int
    orientation: int = 1
