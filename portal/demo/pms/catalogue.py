"""The data of a fake PMS: listings and pictures, which may be changed while it serves them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from portal.demo.pms.paint import painted, words

NAMES = ("Heron House", "Mill Loft", "Dune Cabin", "Orchard Barn", "Harbour Flat", "Alder Cottage", "Fern Lodge")


@dataclass(slots=True)
class FakePicture:
    """A picture. `name` is its path below /pictures/; `version` changes with its bytes."""

    listing: int
    number: int
    name: str
    description: str
    version: int = 0

    @property
    def id(self) -> int:
        return self.listing * 1000 + self.number + 1

    def bytes(self) -> bytes:
        return painted(self.listing, self.number, self.version)

    @property
    def md5(self) -> str:
        return hashlib.md5(self.bytes(), usedforsecurity=False).hexdigest()


@dataclass
class FakeListing:
    """A listing. Its thumbnail is a separate picture, except that of the first listing, which is its first picture."""

    id: int
    name: str
    pictures: list[FakePicture]
    thumbnail: FakePicture


@dataclass
class Catalogue:
    """The listings by id, and all pictures by name."""

    listings: dict[int, FakeListing] = field(default_factory=dict)
    served: dict[str, FakePicture] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=partial(count, 1))

    def add(self, pictures: int) -> FakeListing:
        """Add a listing with this number of pictures."""
        number = next(self._ids)
        gallery = [_picture(number, n, str(n + 1)) for n in range(pictures)]
        thumbnail = gallery[0] if gallery and number == 1 else _picture(number, 999, "thumb")
        listing = FakeListing(number, f"{NAMES[(number - 1) % len(NAMES)]} {number}", gallery, thumbnail)
        self.listings[number] = listing
        self.served |= {picture.name: picture for picture in (*gallery, thumbnail)}
        return listing

    def remove(self, listing: int) -> None:
        """Remove a listing and its pictures."""
        gone = self.listings.pop(listing)
        for picture in (*gone.pictures, gone.thumbnail):
            self.served.pop(picture.name, None)

    def change_url(self, listing: int, number: int) -> FakePicture:
        """Serve a picture under a new URL instead of its old one."""
        picture = self.listings[listing].pictures[number]
        del self.served[picture.name]
        stem, _, moves = picture.name.removesuffix(".jpg").partition("-")
        picture.name = f"{stem}-{int(moves or 1) + 1}.jpg"
        self.served[picture.name] = picture
        return picture

    def change_bytes(self, listing: int, number: int) -> FakePicture:
        """Serve other bytes under the same URL."""
        picture = self.listings[listing].pictures[number]
        picture.version += 1
        return picture


def _picture(listing: int, number: int, name: str) -> FakePicture:
    return FakePicture(listing, number, f"{listing}/{name}.jpg", words(number))
