"""What type these bytes are, and whether they may be opened."""

import struct
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from portal.errors import Invalid
from portal.pixels.inspect import RejectedFile, inspect
from portal.pixels.picture import Picture
from tests.pixels.files import (
    corpus,
    drawn,
    jpeg_with,
    photo,
)


def reason(data: bytes) -> str:
    with pytest.raises(RejectedFile) as rejected:
        inspect(data)
    assert rejected.value.message.endswith(".")
    return rejected.value.code


def test_a_jpeg_is_recognised() -> None:
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


def test_a_phones_heic_has_its_displayed_size() -> None:
    assert inspect(photo("h2_iphone_12mp_gps.heic")) == Picture("image/heic", 4032, 3024, 1)


@pytest.mark.parametrize("path", corpus("exif-orientation/*_[0-8].jpg"))
def test_width_and_height_are_as_displayed(path: Path) -> None:
    picture = inspect(path.read_bytes())
    assert picture.orientation == max(1, int(path.stem[-1]))
    assert (picture.width > picture.height) == path.stem.startswith("Landscape")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_orientation_is_found_in_every_type(format_: str) -> None:
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
def test_anything_but_a_photo_is_refused(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_magic_bytes_alone_are_refused() -> None:
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        assert reason(magic) in {"truncated", "damaged"}
    assert reason(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") in {"truncated", "damaged"}
    assert reason(b"\0\0\0\x14ftypisom\0\0\0\0mp42") == "unsupported_type"


def test_a_polyglot_is_only_what_its_first_bytes_say() -> None:
    script = b"<script>alert(1)</script>"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(script)) + script
    assert inspect(jpeg_with(comment)).type == "image/jpeg"
    assert inspect(drawn("JPEG") + b"PK\x03\x04" + bytes(1000)).type == "image/jpeg"


def test_an_empty_file_and_a_single_byte_are_refused() -> None:
    assert reason(b"") == "empty"
    assert reason(b"\xff") == "not_an_image"


def noisy() -> Image.Image:
    return Image.effect_noise((256, 256), 80).convert("RGB")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_a_truncated_file_is_refused(format_: str, part: float) -> None:
    data = drawn(format_, noisy())
    assert reason(data[: int(len(data) * part)]) in {
        "truncated",
        "damaged",
        "not_an_image",
        "unsupported_type",
    }


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_truncated_heic_is_refused(part: float) -> None:
    data = photo("h2_iphone_12mp_gps.heic")
    assert reason(data[: int(len(data) * part)]) == "truncated"


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF"])
def test_one_missing_byte_is_noticed(format_: str) -> None:
    assert reason(drawn(format_, noisy())[:-1]) == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_only_its_end_marker_is_accepted(progressive: bool) -> None:
    data = drawn("JPEG", noisy(), progressive=progressive)
    assert inspect(data[:-2]) == inspect(data[:-1]) == inspect(data)
    assert reason(data[:-40]) == "truncated"


def test_a_broken_exif_means_no_rotation() -> None:
    loop = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 8, 8)
    flood = b"MM\0*\0\0\0\x08" + struct.pack(">H", 5000) + struct.pack(">HHII", 0x9286, 7, 65_000, 8) * 5000
    odd = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 2, 60_000, 4_000_000_000)
    big = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, 9, 0)
    far = b"II*\0\xff\xff\xff\xff"
    for exif in (loop, flood, odd, big, far, b"", b"II", b"\0" * 100):
        segment = (b"Exif\0\0" + exif)[:65_000]
        data = jpeg_with(b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment)
        assert inspect(data) == Picture("image/jpeg", 64, 32, 1)


def test_scientific_measurements_are_not_photos() -> None:
    assert reason(drawn("TIFF", Image.new("F", (8, 8)))) == "unsupported_type"


def test_a_refusal_can_be_shown_to_the_caller() -> None:
    with pytest.raises(Invalid) as rejected:
        inspect(b"%PDF")
    assert "not an image" in str(rejected.value)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_inspecting_decodes_nothing(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(format_)

    def load(_: Image.Image) -> None:
        raise AssertionError("decoded")

    for reader in (ImageFile.ImageFile, *ImageFile.ImageFile.__subclasses__()):
        monkeypatch.setattr(reader, "load", load)
    assert inspect(data).width == 64
