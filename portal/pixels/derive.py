"""The only maker of variants and renditions: the same source, recipe and pipeline give the same bytes."""

from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar

import pi_heif
import PIL
from PIL import features

from portal.pixels.picture import Picture
from portal.pixels.rejection import memory_errors_as, too_large_to_open
from portal.pixels.render import Rendered, Rendition, render, resize

Derived = TypeVar("Derived", covariant=True)

VERSION = 1  # of our own code: to be raised by each change after which pixels may differ


class Recipe(Protocol[Derived]):
    """What to derive from a picture."""

    def __call__(self, source: bytes, picture: Picture) -> Derived: ...


@dataclass(frozen=True)
class VariantsRecipe:
    """Both variants of an original, turned clockwise by quarters, 0 to 3, in addition to its orientation."""

    quarter_turns: int = 0

    def __call__(self, source: bytes, picture: Picture) -> Rendered:
        return render(source, picture, self.quarter_turns)


@dataclass(frozen=True)
class RenditionRecipe:
    """One width and type, made from the large variant, or from the original while there is no large variant."""

    width_px: int
    type: str
    quarter_turns: int = 0

    def __call__(self, source: bytes, picture: Picture) -> Rendition:
        return resize(source, picture, self.width_px, self.type, self.quarter_turns)


def derive(source: bytes, picture: Picture, recipe: Recipe[Derived]) -> Derived:
    """Derive pictures from the bytes of one and the result of its `inspect`; raise `RejectedFile`.

    Call it in a process with limits.
    """
    with memory_errors_as(too_large_to_open):
        return recipe(source, picture)


@cache
def pipeline() -> str:
    """Return the pipeline's version, which differs whenever pixels may: our code, Pillow, decoders and encoders.

    At most 100 characters.
    """
    parts = {name: features.version(name) for name in ("libjpeg_turbo", "webp", "avif", "littlecms2")}
    parts |= {"pillow": PIL.__version__, "heif": pi_heif.__version__}
    return " ".join([str(VERSION), *(f"{name}={version}" for name, version in sorted(parts.items()))])[:100]
