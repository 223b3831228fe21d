"""What are these bytes, and may we open them? Case numbers are those of reliability.md, section 3."""

import resource
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

from portal.errors import Invalid
from portal.pixels.inspect import Picture, Refused, inspect
from tests.pixels.files import (
    chunk,
    corpus,
    drawn,
    halves,
    jpeg_with,
    jpeg_with_scans,
    photo,
    png,
    png_around,
    zeros_packed,
)


def reason(data: bytes) -> str:
    with pytest.raises(Refused) as refused:
        inspect(data)
    assert refused.value.message.endswith(".")
    return refused.value.code


def test_a_jpeg_is_seen_as_what_it_is() -> None:
    assert inspect(drawn("JPEG")) == Picture("image/jpeg", 64, 32, 1)


@pytest.mark.parametrize(
    ("format_", "type_"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("AVIF", "image/avif"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
    ],
)
def test_the_type_comes_from_the_bytes(format_: str, type_: str) -> None:
    assert inspect(drawn(format_)) == Picture(type_, 64, 32, 1)


def test_a_phones_heic_is_seen_as_displayed() -> None:
    assert inspect(photo("h2_iphone_12mp_gps.heic")) == Picture("image/heic", 4032, 3024, 1)


@pytest.mark.parametrize("path", corpus("exif-orientation/*_[0-8].jpg"))
def test_b14_width_and_height_are_as_displayed(path: Path) -> None:
    picture = inspect(path.read_bytes())
    assert picture.orientation == max(1, int(path.stem[-1]))
    assert (picture.width > picture.height) == path.stem.startswith("Landscape")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_b14_the_orientation_is_found_in_every_type(format_: str) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    picture = inspect(drawn(format_, exif=tags))
    assert (picture.width, picture.height) == (32, 64)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><script>alert(document.domain)</script></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b'<?xml version="1.0"?><svg/>',
        b"%PDF-1.7\n",
        b"PK\x03\x04" + bytes(100),
        b"%!PS-Adobe-3.0\n",
        b"push graphic-context\nviewbox 0 0 640 480\n",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"8BPS\0\1" + bytes(50),
    ],
)
def test_b1_b23_what_is_no_photo_is_refused(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_b3_magic_alone_is_refused() -> None:
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        assert reason(magic) in {"truncated", "damaged"}
    assert reason(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") in {"truncated", "damaged"}
    assert reason(b"\0\0\0\x14ftypisom\0\0\0\0mp42") == "unsupported_type"


def test_b4_a_polyglot_is_only_what_its_first_bytes_say() -> None:
    script = b"<script>alert(1)</script>"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(script)) + script
    assert inspect(jpeg_with(comment)).type == "image/jpeg"
    assert inspect(drawn("JPEG") + b"PK\x03\x04" + bytes(1000)).type == "image/jpeg"


def test_b18_nothing_and_one_byte_are_refused() -> None:
    assert reason(b"") == "empty"
    assert reason(b"\xff") == "not_an_image"


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
def test_b6_bombs_are_refused_by_their_header(name: str) -> None:
    data = BOMBS[name]()
    peak_before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    assert reason(data) == "too_many_pixels"
    assert time.process_time() - started < 0.1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before_kb < 64 * 1024


def test_b7_fifty_megapixels_are_allowed() -> None:
    assert inspect(jpeg_of(10_000, 5_000)).width == 10_000
    assert inspect(png_around(7071, 7071, chunk(b"IDAT", b""), bits=16, kind=6)).width == 7071


@pytest.mark.parametrize("count", [400, 8_000, 100_000])
def test_b8_many_scans_are_refused(count: int) -> None:
    data = jpeg_with_scans(count)
    started = time.process_time()
    assert reason(data) == "too_many_scans"
    assert time.process_time() - started < 1


def test_b8_as_many_scans_as_a_real_photo_ever_had_are_fine() -> None:
    assert inspect(jpeg_with_scans(43)).type == "image/jpeg"


def test_b9_a_profile_that_unpacks_to_a_gigabyte_is_refused() -> None:
    profile = chunk(b"iCCP", b"x\0\0" + zeros_packed(64 * 1024 * 1024))
    data = png(10, 10, profile)
    tracemalloc.start()
    assert reason(data) == "damaged"
    assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    tracemalloc.stop()


def test_b9_text_is_never_unpacked() -> None:
    text = chunk(b"zTXt", b"k\0\0" + zeros_packed(64 * 1024 * 1024))
    assert inspect(png(10, 10, *[text] * 20)).width == 10


def test_b9_a_profile_past_the_cap_or_in_18000_pieces_is_refused() -> None:
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
def test_b10_floods_take_bounded_time(name: str) -> None:
    data = FLOODS[name]()
    started = time.process_time()
    try:
        said = inspect(data).type
    except Refused as refused:
        said = refused.code
    assert said in {"image/jpeg", "too_many_parts", "damaged", "truncated"}
    assert time.process_time() - started < 3


def test_b10_a_flooded_jpeg_that_can_be_skimmed_is_still_a_photo() -> None:
    assert inspect(FLOODS["10 MB of fill"]()).width == 64


def noisy() -> Image.Image:
    return Image.effect_noise((256, 256), 80).convert("RGB")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_b12_a_file_that_is_cut_off_is_refused(format_: str, part: float) -> None:
    data = drawn(format_, noisy())
    assert reason(data[: int(len(data) * part)]) in {
        "truncated",
        "damaged",
        "not_an_image",
        "unsupported_type",
    }


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_b12_b17_a_heic_that_is_cut_off_is_refused(part: float) -> None:
    data = photo("h2_iphone_12mp_gps.heic")
    assert reason(data[: int(len(data) * part)]) == "truncated"


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF"])
def test_b12_one_missing_byte_is_noticed(format_: str) -> None:
    assert reason(drawn(format_, noisy())[:-1]) == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
def test_b12_a_jpeg_that_lacks_only_its_end_marker_is_accepted(progressive: bool) -> None:
    data = drawn("JPEG", noisy(), progressive=progressive)
    assert inspect(data[:-2]) == inspect(data[:-1]) == inspect(data)
    assert reason(data[:-40]) == "truncated"


def test_b16_a_broken_exif_means_no_rotation() -> None:
    loop = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8)
    flood = b"MM\0*\0\0\0\x08" + struct.pack(">H", 5000) + struct.pack(">HHII", 0x9286, 7, 65_000, 8) * 5000
    odd = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 2, 60_000, 4_000_000_000)
    big = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 9, 0)
    far = b"II*\0\xff\xff\xff\xff"
    for exif in (loop, flood, odd, big, far, b"", b"II", b"\0" * 100):
        segment = (b"Exif\0\0" + exif)[:65_000]
        data = jpeg_with(b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment)
        assert inspect(data) == Picture("image/jpeg", 64, 32, 1)


def test_measurements_are_not_photos() -> None:
    assert reason(drawn("TIFF", Image.new("F", (8, 8)))) == "unsupported_type"


def test_a_refusal_is_something_the_caller_can_be_told() -> None:
    with pytest.raises(Invalid) as refused:
        inspect(b"%PDF")
    assert "not a picture" in str(refused.value)


def test_inspecting_decodes_nothing() -> None:
    data = drawn("JPEG", halves(5000, 4000))
    started = time.process_time()
    for _ in range(20):
        inspect(data)
    assert (time.process_time() - started) / 20 < 0.02  # decoding takes some 60 ms
