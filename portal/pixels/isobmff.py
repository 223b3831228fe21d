"""HEIC and AVIF, box by box (ISO/IEC 14496-12 and 23008-12): a picture is an item, which names places in the file."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from portal.pixels.refused import MAX_PARTS, Refused, damaged, too_many_parts, truncated

MAX_TABLE_BYTES = 1024 * 1024  # of items, or of their places; 50 megapixels in tiles of 512 px take 8 kB

_WHOLE = {b"ftyp", b"hdlr", b"pitm", b"iinf", b"iref", b"iprp", b"iloc", b"dinf", b"grpl"}
_HEADS = {b"meta", b"mdat", b"idat"}  # what lies inside is looked at by itself
_FILM = b"moov"
_FILE, _IDAT = 0, 1  # where an item's places are counted from
# Items that are no picture, and what is found in their stead: EXIF without a tag, XML without a word.
_TOLD = {b"Exif": (bytes(4) + b"MM\0*\0\0\0\x08" + bytes(6), b"\0"), b"mime": (b"<x/>", b" "), b"uri ": (b"", b"\0")}


class _Box(NamedTuple):
    type: bytes
    start: int
    body: int
    end: int


class _Place(NamedTuple):
    item: int
    start: int
    end: int


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return (the HEIC or AVIF, no EXIF: its own boxes say how it stands); raise `Refused` where cut off."""
    seen = set[bytes]()
    for box in _boxes(data, 0, len(data)):
        seen.add(box.type)
        if {b"meta", b"mdat"} <= seen:
            break  # what trails behind a whole picture is nobody's business
    return data, b""


def strip(data: bytes) -> bytes | None:
    """Return the file with zeros for what is no part of a picture; None where we can't tell what is.

    Nothing moves, since items name places in the file: EXIF and XMP stay as items that say nothing. We don't
    follow films, items in other files or made of other items, and boxes that don't fit together.
    """
    top = _whole_boxes(data)
    try:
        meta = _only(b"meta", top)
        inside = list(_boxes(data, meta.body + 4, meta.end))
        types = _types(data, _only(b"iinf", inside))
        places = list(_places(data, _only(b"iloc", inside), inside))
    except Refused:
        return None
    size_bytes = max(box.end for box in top if box.type in _WHOLE | _HEADS)
    does_fit = all(place.end <= size_bytes for place in places)
    if any(box.type == _FILM for box in top) or not does_fit:
        return None
    result = bytearray(size_bytes)
    _say_nothing(result, types, places)
    for box in (*top, *inside):
        _keep(result, data, box)
    for place in places:
        if types.get(place.item) not in {None, *_TOLD}:
            result[place.start : place.end] = data[place.start : place.end]
    return bytes(result)


def _say_nothing(result: bytearray, types: dict[int, bytes], places: Sequence[_Place]) -> None:
    begun = set[int]()
    for item, start, end in places:
        head, filling = _TOLD.get(types.get(item, b""), (b"", b"\0"))
        if item in begun or len(head) > end - start:
            head = b""
        result[start:end] = head + filling * (end - start - len(head))
        begun.add(item)


def _keep(result: bytearray, data: bytes, box: _Box) -> None:
    """Keep a box or its head; one that shows nothing stays as free room, or not at all behind the last that does."""
    if box.end > len(result):
        return
    end = box.end if box.type in _WHOLE else box.body + 4 * (box.type == b"meta")
    result[box.start : end] = data[box.start : end]
    if box.type not in _WHOLE | _HEADS:
        result[box.start + 4 : box.start + 8] = b"free"


def _whole_boxes(data: bytes) -> list[_Box]:
    """Return the outermost boxes up to the first that is none: what trails behind a picture may be anything."""
    found = []
    try:
        for box in _boxes(data, 0, len(data)):
            found.append(box)
    except Refused:
        pass
    return found


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two places; raise `Refused` at one that doesn't fit."""
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            return
        size_bytes, body = int.from_bytes(data[at : at + 4]), at + 8
        if size_bytes == 1:
            size_bytes, body = int.from_bytes(data[at + 8 : at + 16]), at + 16
        elif size_bytes == 0:
            size_bytes = end - at
        start, at = at, at + size_bytes
        if at < body or at > end:
            raise truncated()
        yield _Box(data[start + 4 : start + 8], start, body, at)
    raise too_many_parts()


def _only(type: bytes, boxes: Sequence[_Box]) -> _Box:
    found = [box for box in boxes if box.type == type]
    if len(found) != 1:
        raise damaged()
    return found[0]


class _Numbers:
    """The numbers in a box, one after the other."""

    def __init__(self, data: bytes, box: _Box) -> None:
        if box.end - box.body > MAX_TABLE_BYTES:
            raise too_many_parts()
        self.data, self.at, self.end = data, box.body, box.end

    def next(self, size_bytes: int) -> int:
        start, self.at = self.at, self.at + size_bytes
        if self.at > self.end:
            raise truncated()
        return int.from_bytes(self.data[start : self.at])


def _types(data: bytes, iinf: _Box) -> dict[int, bytes]:
    """Return each item's type by its id."""
    numbers = _Numbers(data, iinf)
    numbers.next(2 if numbers.next(4) >> 24 == 0 else 4)  # how many there are
    types = {}
    for box in _boxes(data, numbers.at, iinf.end):
        numbers = _Numbers(data, box)
        version = numbers.next(4) >> 24
        if version not in (2, 3):
            raise damaged()
        item, _ = numbers.next(2 if version == 2 else 4), numbers.next(2)
        types[item] = numbers.next(4).to_bytes(4)
    return types


def _places(data: bytes, iloc: _Box, inside: Sequence[_Box]) -> Iterator[_Place]:
    """Yield where in the file each item lies, piece by piece; no file names much more than it has."""
    idat = next((box.body for box in inside if box.type == b"idat"), len(data))
    numbers, left_bytes = _Numbers(data, iloc), 2 * len(data)
    version = numbers.next(4) >> 24
    sizes = numbers.next(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    id_bytes = 2 if version < 2 else 4
    for _ in range(numbers.next(id_bytes)):
        item = numbers.next(id_bytes)
        start_from = numbers.next(2) & 15 if version else _FILE
        is_elsewhere = numbers.next(2) or start_from not in (_FILE, _IDAT)
        base = numbers.next(base_bytes) + (idat if start_from == _IDAT else 0)
        for _ in range(numbers.next(2)):
            numbers.next(index_bytes if version else 0)
            start, size_bytes = base + numbers.next(offset_bytes), numbers.next(length_bytes)
            left_bytes -= size_bytes
            if is_elsewhere or not size_bytes or left_bytes < 0:
                raise damaged()
            yield _Place(item, start, start + size_bytes)
