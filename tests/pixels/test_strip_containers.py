"""Stripping metadata, part by part: what each container keeps, and what it loses."""

import struct

import pytest
from PIL import Image

from portal.pixels import containers
from portal.pixels.rejection import RejectedFile
from portal.pixels.sandbox import run
from portal.pixels.strip import strip_metadata
from tests.pixels.files import LIMITS, chunk, decoded, drawn, halves, jpeg_with, png


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(body)) + body


def box(type: bytes, *inside: bytes) -> bytes:
    body = b"".join(inside)
    return struct.pack(">I", 8 + len(body)) + type + body


def jpeg(data: bytes) -> bytes:
    result = strip_metadata(data, "image/jpeg")
    assert result
    return result


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE0, b"JFXX\0\x10" + bytes(200)),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(60)),
        segment(0xE2, b"MPF\0" + bytes(80)),
        segment(0xEB, b"JP\0\x01" + bytes(40)),
        segment(0xED, b"Photoshop 3.0\x008BIM" + bytes(20)),
        segment(0xEE, b"Ducky"),
        segment(0xFE, b"made by somebody"),
        segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0") * 2,
        b"\0junk",
    ],
)
def test_a_jpeg_keeps_none_of_these_segments(extra: bytes) -> None:
    assert jpeg(jpeg_with(extra)) == drawn("JPEG")


def test_a_jpeg_loses_its_thumbnail_and_keeps_its_density() -> None:
    plain = drawn("JPEG", dpi=(300, 300))
    head = plain[6:18]
    assert head.startswith(b"JFIF\0")
    thumbnail = segment(0xE0, head + b"\2\2" + bytes(12))
    assert jpeg(plain[:2] + thumbnail + plain[20:]) == plain


def test_a_jpeg_keeps_nothing_between_its_scans() -> None:
    plain = drawn("JPEG", halves(256, 128), progressive=True)
    second = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    before = max(plain.rindex(marker, 0, second) for marker in (b"\xff\xc4", b"\xff\xda"))
    assert jpeg(plain[:before] + segment(0xFE, b"made by somebody") + plain[before:]) == plain


def test_a_jpeg_keeps_the_parameters_of_its_colours() -> None:
    data = drawn("JPEG", halves().convert("CMYK"))
    assert b"Adobe" in data
    assert jpeg(data) == data
    at = data.index(b"\xff\xee")
    longer = segment(0xEE, data[at + 4 : at + 16] + b"made by somebody")
    assert jpeg(data[:at] + longer + data[at + 16 :]) == data


def test_a_jpeg_without_its_end_marker_gets_one() -> None:
    data = drawn("JPEG")
    assert jpeg(data[:-2]) == data


def test_a_jpeg_with_restart_markers_stays_complete() -> None:
    data = drawn("JPEG", Image.effect_noise((200, 100), 60), restart_marker_blocks=1)
    assert data.count(b"\xff\xd3") > 5
    assert jpeg(data) == data


def test_a_png_keeps_its_colours_and_loses_its_texts() -> None:
    shown = [chunk(b"gAMA", bytes(4)), chunk(b"sRGB", b"\0"), chunk(b"pHYs", bytes(9)), chunk(b"cICP", bytes(4))]
    written = [
        chunk(b"tEXt", b"a\0b"),
        chunk(b"zTXt", b"a\0\0"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        chunk(b"tIME", bytes(7)),
    ]
    private = [chunk(b"caBX", b"who made it"), chunk(b"prVt", b"x"), chunk(b"eXIf", b"MM\0*\0\0\0\x08" + bytes(6))]
    mixed = [part for pair in zip(shown, written, strict=True) for part in pair]
    assert strip_metadata(png(9, 9, *mixed, *private), "image/png") == png(9, 9, *shown)


def test_the_flags_of_a_webp_match_its_chunks() -> None:
    exif = Image.Exif()
    exif[0x010F] = "somebody"
    plain = drawn("WEBP", icc_profile=b"a profile")
    assert strip_metadata(drawn("WEBP", icc_profile=b"a profile", exif=exif, xmp=b"<x/>"), "image/webp") == plain
    exif[0x0112] = 8
    turned = strip_metadata(drawn("WEBP", exif=exif, xmp=b"<x/>"), "image/webp") or b""
    assert int.from_bytes(turned[4:8], "little") == len(turned) - 8
    assert turned[20] & 0x0C == 0x08, "it has EXIF, and no XMP"
    assert dict(decoded(turned).getexif()) == {0x0112: 8}


def test_a_webp_loses_unknown_chunks() -> None:
    plain = drawn("WEBP", halves().convert("RGBA"), icc_profile=b"a profile")
    odd = b"WHO?" + struct.pack("<I", 3) + b"me!\0"
    longer = plain + odd
    assert strip_metadata(b"RIFF" + struct.pack("<I", len(longer) - 8) + longer[8:], "image/webp") == plain


def test_a_webp_whose_first_chunk_is_empty_is_refused() -> None:
    with pytest.raises(RejectedFile):
        strip_metadata(b"RIFF\x0c\0\0\0WEBPVP8X\0\0\0\0", "image/webp")


def test_a_gif_keeps_its_frames_and_timing() -> None:
    plain = drawn("GIF", save_all=True, append_images=[halves().transpose(Image.Transpose.ROTATE_180)], loop=0)
    at = plain.index(b"!\xff\x0bNETSCAPE2.0")
    xmp = b"!\xff\x0bXMP DataXMP<x:xmpmeta/>" + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    text = b"!\x01\x0c" + bytes(12) + b"\x02hi\0"
    assert strip_metadata(plain[:at] + xmp + b"!\xfe\x02hi\0" + text + b"\0\0" + plain[at:], "image/gif") == plain
    assert strip_metadata(plain[:-1], "image/gif") == plain


@pytest.mark.parametrize("left", [12, 15, 40, 50])
def test_a_truncated_gif_is_refused(left: int) -> None:
    data = drawn("GIF")
    assert len(data) > 100
    with pytest.raises(RejectedFile):
        strip_metadata(data[:left], "image/gif")


def test_a_gif_of_countless_tiny_blocks_is_refused_soon() -> None:
    pieces = b",\0\0\0\0@\0 \0\0\x08" + b"\x01a" * 2 * containers.MAX_GIF_BLOCKS + b"\0;"
    data = drawn("GIF")[:13].replace(b"\x87", b"\x07", 1) + pieces
    with pytest.raises(RejectedFile) as rejected:
        run(strip_metadata, data, "image/gif", cpu_s=2, memory_bytes=LIMITS["memory_bytes"], timeout_s=100)
    with pytest.raises(RejectedFile) as rejected_here:
        strip_metadata(data, "image/gif")
    assert rejected.value.code == rejected_here.value.code != "too_slow_to_open"
