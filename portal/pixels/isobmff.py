"""HEIC and AVIF, box by box (ISO/IEC 14496-12 and 23008-12): a picture is an item, made of extents of the file."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from portal.pixels.rejection import MAX_PARTS, RejectedFile, damaged, too_many_parts, truncated

MAX_TABLE_BYTES = 1024 * 1024  # of items or extents; 50 megapixels in tiles of 512 px take 8 kB

_KEPT_BOXES = {b"ftyp", b"hdlr", b"pitm", b"iinf", b"iref", b"iprp", b"iloc", b"dinf", b"grpl"}
_KEPT_HEADERS = {b"meta", b"mdat", b"idat"}  # their contents are examined separately
_VIDEO = b"moov"
_FILE, _IDAT = 0, 1  # what an item's offsets are relative to
# Types of metadata items → (the beginning, the filler) that replace their bytes: EXIF without tags, empty XML.
_METADATA = {
    b"Exif": (bytes(4) + b"MM\0*\0\0\0\x08" + bytes(6), b"\0"),
    b"mime": (b"<x/>", b" "),
    b"uri ": (b"", b"\0"),
}


class _Box(NamedTuple):
    type: bytes
    start: int
    body: int
    end: int


class _Extent(NamedTuple):
    item: int
    start: int
    end: int


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return (the HEIC or AVIF, no EXIF: its boxes have the orientation); raise `RejectedFile` if it is truncated."""
    seen = set[bytes]()
    for box in _boxes(data, 0, len(data)):
        seen.add(box.type)
        if {b"meta", b"mdat"} <= seen:
            break  # data after a complete picture doesn't matter
    return data, b""


def strip(data: bytes) -> bytes | None:
    """Return the file with everything overwritten that is no part of a picture; None if we can't tell the two apart.

    Nothing is moved, since items refer to offsets in the file: EXIF and XMP remain as empty items. Not supported, and
    so None: videos, items in other files or made of other items, and inconsistent boxes.
    """
    top = _top_level_boxes(data)
    try:
        meta = _only(b"meta", top)
        inside = list(_boxes(data, meta.body + 4, meta.end))
        types = _types(data, _only(b"iinf", inside))
        extents = list(_extents(data, _only(b"iloc", inside), inside))
    except RejectedFile:
        return None
    size_bytes = max(box.end for box in top if box.type in _KEPT_BOXES | _KEPT_HEADERS)
    does_fit = all(extent.end <= size_bytes for extent in extents)
    if any(box.type == _VIDEO for box in top) or not does_fit:
        return None
    result = bytearray(size_bytes)
    _blank_metadata(result, types, extents)
    for box in (*top, *inside):
        _copy_box(result, data, box)
    for extent in extents:
        if types.get(extent.item) not in {None, *_METADATA}:
            result[extent.start : extent.end] = data[extent.start : extent.end]
    return bytes(result)


def _blank_metadata(result: bytearray, types: dict[int, bytes], extents: Sequence[_Extent]) -> None:
    started = set[int]()
    for item, start, end in extents:
        head, filler = _METADATA.get(types.get(item, b""), (b"", b"\0"))
        if item in started or len(head) > end - start:
            head = b""
        result[start:end] = head + filler * (end - start - len(head))
        started.add(item)


def _copy_box(result: bytearray, data: bytes, box: _Box) -> None:
    """Copy a box or its header to the result; one that holds no part of a picture becomes a `free` box."""
    if box.end > len(result):
        return
    end = box.end if box.type in _KEPT_BOXES else box.body + 4 * (box.type == b"meta")
    result[box.start : end] = data[box.start : end]
    if box.type not in _KEPT_BOXES | _KEPT_HEADERS:
        result[box.start + 4 : box.start + 8] = b"free"


def _top_level_boxes(data: bytes) -> list[_Box]:
    """Return the outermost boxes up to the first invalid one: anything may follow a picture."""
    found = []
    try:
        for box in _boxes(data, 0, len(data)):
            found.append(box)
    except RejectedFile:
        pass
    return found


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two offsets; raise `RejectedFile` at one that doesn't fit."""
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


class _NumberReader:
    """Reads the numbers in a box, one after the other."""

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
    numbers = _NumberReader(data, iinf)
    numbers.next(2 if numbers.next(4) >> 24 == 0 else 4)  # the count, which is not needed
    types = {}
    for box in _boxes(data, numbers.at, iinf.end):
        numbers = _NumberReader(data, box)
        version = numbers.next(4) >> 24
        if version not in (2, 3):
            raise damaged()
        item, _ = numbers.next(2 if version == 2 else 4), numbers.next(2)
        types[item] = numbers.next(4).to_bytes(4)
    return types


def _extents(data: bytes, iloc: _Box, inside: Sequence[_Box]) -> Iterator[_Extent]:
    """Yield the extents of each item; raise `RejectedFile` if together they exceed twice the file's size."""
    idat = next((box.body for box in inside if box.type == b"idat"), len(data))
    numbers, left_bytes = _NumberReader(data, iloc), 2 * len(data)
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
            yield _Extent(item, start, start + size_bytes)
