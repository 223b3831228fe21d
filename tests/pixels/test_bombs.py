"""Small files that would cost much: rejected by what their first bytes say."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from portal.pixels.inspect import RejectedFile, inspect
from portal.pixels.picture import Picture
from portal.pixels.sandbox import run
from tests.pixels.files import (
    chunk,
    drawn,
    jpeg_with,
    jpeg_with_scans,
    photo,
    png,
    png_around,
    zeros_packed,
)
from tests.pixels.test_inspect import reason

MB = 1024 * 1024


def reason_within(data: bytes, *, cpu_s: float, memory_bytes: int = 1024 * MB) -> str:
    """Return why it is rejected, or its type, within these limits; exceeding them gives another reason."""
    return reason_or_type(lambda: run(inspect, data, cpu_s=cpu_s, memory_bytes=memory_bytes, timeout_s=100))


def reason_or_type(look: Callable[[], Picture]) -> str:
    try:
        return look().type
    except RejectedFile as rejected:
        return rejected.code


def webp_of(width: int, height: int) -> bytes:
    body = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", (height - 1) << 14 | width - 1) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def jpeg_of(width: int, height: int) -> bytes:
    jpeg = bytearray(drawn("JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def gif_of(width: int, height: int) -> bytes:
    gif = bytearray(drawn("GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    return bytes(gif)


def heic_of(width: int, height: int) -> bytes:
    heic = bytearray(photo("h2_iphone_12mp_gps.heic"))
    at = -1
    while (at := heic.find(b"ispe", at + 1)) >= 0:
        heic[at + 8 : at + 16] = struct.pack(">II", width, height)
    return bytes(heic)


BOMBS = {
    "png 50,000 squared": lambda: png_around(50_000, 50_000, chunk(b"IDAT", b""), bits=1, kind=0),
    "png 2^31 by 1": lambda: png_around(2**31 - 1, 1, chunk(b"IDAT", b"")),
    "png one row too long": lambda: png_around(16_385, 1, chunk(b"IDAT", b"")),
    "webp 16,383 squared": lambda: webp_of(16_383, 16_383),
    "jpeg 65,500 squared": lambda: jpeg_of(65_500, 65_500),
    "jpeg of 50 megapixels and a row": lambda: jpeg_of(10_000, 5_001),
    "gif 65,535 squared": lambda: gif_of(65_535, 65_535),
    "heic of 200 megapixels": lambda: heic_of(16_000, 12_500),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(name: str) -> None:
    assert reason_within(BOMBS[name](), cpu_s=1, memory_bytes=64 * MB) == "too_many_pixels"


def test_fifty_megapixels_are_allowed() -> None:
    assert inspect(jpeg_of(10_000, 5_000)).width == 10_000
    assert inspect(png_around(7071, 7071, chunk(b"IDAT", b""), bits=16, kind=6)).width == 7071


@pytest.mark.parametrize("count", [400, 8_000, 100_000])
def test_many_scans_are_refused(count: int) -> None:
    assert reason_within(jpeg_with_scans(count), cpu_s=1) == "too_many_scans"


def test_as_many_scans_as_real_photos_have_are_allowed() -> None:
    assert inspect(jpeg_with_scans(43)).type == "image/jpeg"


def test_a_profile_that_unpacks_to_a_gigabyte_is_refused() -> None:
    profile = chunk(b"iCCP", b"x\0\0" + zeros_packed(64 * 1024 * 1024))
    data = png(10, 10, profile)
    tracemalloc.start()
    assert reason(data) == "damaged"
    assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    tracemalloc.stop()


def test_compressed_text_is_never_unpacked() -> None:
    text = chunk(b"zTXt", b"k\0\0" + zeros_packed(64 * 1024 * 1024))
    assert inspect(png(10, 10, *[text] * 20)).width == 10


def test_a_profile_past_the_limit_or_in_18000_pieces_is_refused() -> None:
    def pieces(count: int, size_bytes: int) -> bytes:
        head = b"\xff\xe2" + struct.pack(">H", 16 + size_bytes) + b"ICC_PROFILE\0"
        return b"".join(head + bytes([i % 255 + 1, 255]) + bytes(size_bytes) for i in range(count))

    assert reason(jpeg_with(pieces(90, 60_000))) == "icc_too_large"
    assert reason(jpeg_with(pieces(18_000, 500))) in {"icc_too_large", "too_many_parts"}


PIXELS = chunk(b"IDAT", zlib.compress(bytes(31 * 10)))


def webp_flood() -> bytes:
    webp, junk = drawn("WEBP"), b"JUNK\0\0\0\0" * 1_000_000
    return webp[:4] + struct.pack("<I", len(webp) - 8 + len(junk)) + webp[8:] + junk


def gif_flood(blocks: bytes) -> bytes:
    gif = drawn("GIF")
    frame = gif.index(b",", 13)
    return gif[:frame] + blocks + gif[frame:]


def tiff_flood() -> bytes:
    tags = b"".join(struct.pack("<HHII", 1000 + tag, 7, 9_000_000, 16) for tag in range(60_000))
    return b"II*\0" + struct.pack("<IH", 8, 60_000) + tags + bytes(9_000_000)


FLOODS = {
    "2.4 M comments": lambda: jpeg_with(b"\xff\xfe\x00\x02" * 2_400_000),
    "10 MB of fill": lambda: jpeg_with(b"\xff" * 9_900_000),
    "4.9 M restarts": lambda: jpeg_with(b"\xff\xd0" * 4_900_000),
    "4.9 M stuffed bytes": lambda: drawn("JPEG")[:-2] + b"\xff\x00" * 4_900_000 + b"\xff\xd9",
    "800 k PNG chunks": lambda: png_around(10, 10, chunk(b"vpAg", b"") * 800_000, PIXELS),
    "500 k IDAT": lambda: png_around(10, 10, chunk(b"IDAT", b"") * 500_000, PIXELS),
    "1 M WebP chunks": webp_flood,
    "1.2 M boxes": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08free" * 1_200_000,
    "1.8 M GIF comments": lambda: gif_flood(b"!\xfe\x01x\0" * 1_800_000),
    "4.5 M GIF blocks": lambda: gif_flood(b"!\xfe" + b"\x01x" * 4_500_000 + b"\0"),
    "60 k TIFF tags": tiff_flood,
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_take_bounded_time(name: str) -> None:
    said = reason_within(FLOODS[name](), cpu_s=3)
    assert said in {"image/jpeg", "too_many_parts", "damaged", "truncated"}


def test_a_flooded_jpeg_that_can_be_skimmed_is_still_a_photo() -> None:
    assert inspect(FLOODS["10 MB of fill"]()).width == 64
