"""Stripping metadata in HEIC and AVIF: nothing moves, and whatever is not part of a picture becomes zeros."""

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from portal.pixels import isobmff
from portal.pixels.inspect import inspect
from portal.pixels.sandbox import run
from portal.pixels.strip import strip_metadata
from tests.pixels.files import LIMITS, decoded, drawn

SECRET = b"Corvid Optics 8675309"


def strip(data: bytes) -> bytes | None:
    return strip_metadata(data, "image/avif")


def box(type: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + type + body


def put_in(data: bytes, before: bytes, extra: bytes) -> bytes:
    """Insert bytes before the box of a type; the offset of the one picture moves along."""
    at = data.index(before) - 4
    place = struct.unpack(">I", data[where(data) : where(data) + 4])[0]
    moved = data[: where(data)] + struct.pack(">I", place + len(extra)) + data[where(data) + 4 :]
    return moved[:at] + extra + moved[at:]


def where(data: bytes) -> int:
    """The position of the one picture's offset: at the end of iloc, before its length."""
    at = data.index(b"iloc") - 4
    return at + int.from_bytes(data[at : at + 4]) - 8


def with_places(data: bytes, iloc: bytes) -> bytes:
    """The same file with its items at the offsets of another iloc; the old one becomes a free box."""
    at = data.index(b"meta") - 4
    end = at + int.from_bytes(data[at : at + 4])
    rest = data[at + 12 : end].replace(b"iloc", b"free")
    return data[:at] + box(b"meta", bytes(4) + box(b"iloc", iloc) + box(b"idat", bytes(9)) + rest) + data[end:]


def test_nothing_moves_in_a_phones_photo(photo: Callable[[str], bytes]) -> None:
    data = photo("h2_iphone_12mp_gps.heic")
    result = strip_metadata(data, "image/heic") or b""
    assert len(result) == len(data)
    changed = [n for n, (a, b) in enumerate(zip(data, result, strict=True)) if a != b]
    assert 1000 < changed[-1] - changed[0] < 2144, "its EXIF and nothing else"
    assert dict(Image.open(io.BytesIO(result)).getexif()) == {}


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_the_orientation_boxes_are_kept(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, SECRET.decode()
    data = drawn("AVIF", exif=exif, xmp=b"<x:xmpmeta/>")
    result = strip(data) or b""
    assert SECRET in data and SECRET not in result
    assert inspect(result) == inspect(data)
    assert decoded(result).info["xmp"].strip() == b"<x/>", "readers still find XML"


@pytest.mark.parametrize("type", [b"uuid", b"free", b"skip", b"mpvd", b"udta", b"SEFT"])
def test_a_box_without_pixels_becomes_free_space(type: bytes) -> None:
    plain = drawn("AVIF")
    expected = put_in(plain, b"mdat", box(b"free", bytes(len(SECRET))))
    assert strip(put_in(plain, b"mdat", box(type, SECRET))) == expected
    assert decoded(expected).tobytes() == decoded(plain).tobytes()
    assert strip(plain + box(type, SECRET)) == plain, "nothing of it is left after the picture"


@pytest.mark.parametrize("type", [b"uuid", b"xml ", b"bxml", b"udta"])
def test_metadata_inside_meta_becomes_free_space_too(type: bytes) -> None:
    plain = drawn("AVIF")
    at = plain.index(b"meta") - 4

    def grown(extra: bytes) -> bytes:
        data = put_in(plain, b"iprp", extra)
        return data[:at] + struct.pack(">I", int.from_bytes(data[at : at + 4]) + len(extra)) + data[at + 4 :]

    result = strip(grown(box(type, SECRET)))
    assert result == grown(box(b"free", bytes(len(SECRET))))
    assert decoded(result).tobytes() == decoded(plain).tobytes()


def test_bytes_outside_of_pictures_become_zeros() -> None:
    plain = drawn("AVIF")
    at = plain.index(b"mdat") - 4

    def grown(extra: bytes) -> bytes:
        return plain[:at] + struct.pack(">I", len(plain) - at + len(extra)) + plain[at + 4 :] + extra

    assert strip(grown(SECRET)) == grown(bytes(len(SECRET)))


def test_an_image_sequence_is_refused() -> None:
    video = drawn("AVIF", save_all=True, append_images=[Image.new("RGB", (64, 32), "lime")])
    assert inspect(video).type == "image/avif"
    assert strip(video) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"iinf", b"xinf"),
        (b"iloc", b"xloc"),
        (b"infe\2", b"infe\1"),
        (b"meta", b"xeta"),
        (b"iloc\0\0\0\0\x44", b"iloc\0\0\0\0\x40"),  # no lengths: the whole file
        (b"iloc\0\0\0\0\x44", b"iloc\3\0\0\0\x44"),
        (b"iloc\0\0\0\0\x44", b"iloc\0\0\0\0\xff"),
    ],
)
def test_an_unknown_construction_is_refused(old: bytes, new: bytes) -> None:
    data = drawn("AVIF")
    assert old in data
    assert strip(data.replace(old, new)) is None


@pytest.mark.parametrize("place", [2**32 - 1, 10_000])
def test_a_picture_outside_of_its_file_is_refused(place: int) -> None:
    data = drawn("AVIF")
    assert strip(data[: where(data)] + struct.pack(">I", place) + data[where(data) + 4 :]) is None


@pytest.mark.parametrize(
    ("counted_from", "elsewhere", "is_understood"),
    [(0, 0, True), (1, 0, True), (2, 0, False), (0, 1, False), (1, 1, False)],
)
def test_only_items_in_the_file_or_in_idat_are_understood(
    counted_from: int, elsewhere: int, is_understood: bool
) -> None:
    places = struct.pack(">HHHHHII", 1, 1, counted_from, elsewhere, 1, 2, 5)
    data = with_places(drawn("AVIF"), b"\1\0\0\0\x44\0" + places)
    assert (strip(data) is not None) == is_understood


def test_items_in_meta_that_a_picture_names_are_kept() -> None:
    places = struct.pack(">HHHHHII", 1, 1, 1, 0, 1, 2, 5)
    data = with_places(drawn("AVIF"), b"\1\0\0\0\x44\0" + places)
    data = data.replace(b"idat" + bytes(9), b"idat" + b"xxGRID1xx")
    assert b"idat\0\0GRID1\0\0" in (strip(data) or b"")


def test_a_file_that_references_itself_repeatedly_costs_no_time() -> None:
    data = put_in(drawn("AVIF"), b"mdat", box(b"free", bytes(10**7)))
    iloc = bytes(4) + b"\x44\0" + struct.pack(">HHHH", 1, 1, 0, 65_535) + struct.pack(">II", 0, 10**7) * 65_535
    assert len(iloc) < isobmff.MAX_TABLE_BYTES
    limits = LIMITS | {"cpu_s": 1, "timeout_s": 100}
    assert run(strip_metadata, with_places(data, iloc), "image/avif", **limits) is None
    assert strip(with_places(data, iloc)) is None


def test_a_file_of_a_million_items_is_refused() -> None:
    items = struct.pack(">IHHH", 1, 0, 0, 0) * 150_000
    assert len(items) > isobmff.MAX_TABLE_BYTES
    iloc = b"\2\0\0\0\x44\0" + struct.pack(">I", 150_000)
    assert strip(with_places(drawn("AVIF"), iloc + items)) is None
    assert strip(with_places(drawn("AVIF"), iloc[:6] + struct.pack(">I", 9) + items[:90])) is not None
