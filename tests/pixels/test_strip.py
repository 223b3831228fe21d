"""Stripping metadata: the same picture, pixel for pixel, without camera, place or time."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, ImageSequence

from portal.pixels.inspect import inspect
from portal.pixels.rejection import RejectedFile
from portal.pixels.sniff import sniff
from portal.pixels.strip import strip_metadata
from tests.pixels.files import corpus, drawn, halves

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
ORIENTATION, MAKER, GPS = 0x0112, 0x010F, 0x8825
SECRET = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>50.1 N 8.6 E, body 8675309</x:xmpmeta>"
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif", "GIF": "image/gif"}
MOVING = ["PNG", "WEBP", "GIF"]


def strip(data: bytes) -> bytes:
    result = strip_metadata(data, sniff(data))
    assert result is not None
    return result


def tags(orientation: int = 1) -> Image.Exif:
    """What a camera writes: its maker, its place, its orientation."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "Corvid Optics 8675309"
    exif[GPS] = {1: "N", 2: (50.0, 6.0, 0.0), 3: "E", 4: (8.0, 36.0, 0.0)}
    return exif


def with_all_metadata(format_: str, **options: Any) -> bytes:
    """A picture with all the metadata that its type can hold."""
    said = {"GIF": {"comment": SECRET}, "PNG": {"exif": tags()}}.get(format_, {"exif": tags(), "xmp": SECRET})
    return drawn(format_, Image.effect_noise((64, 32), 60).convert("RGB"), **said, **options)


def frames(data: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(data)) as image:
        return [frame.convert("RGBA").tobytes() for frame in ImageSequence.Iterator(image)]


def assert_no_metadata(data: bytes) -> None:
    assert not [word for word in (b"Corvid", b"8675309", b"xmpmeta", b"50.1 N") if word in data]
    assert not Image.open(io.BytesIO(data)).getexif().get_ifd(GPS)


@pytest.mark.parametrize("format_", TYPES)
def test_a_picture_keeps_its_pixels_and_loses_its_metadata(format_: str) -> None:
    data = with_all_metadata(format_)
    result = strip(data)
    assert_no_metadata(result)
    assert frames(result) == frames(data)
    assert inspect(result) == inspect(data)
    assert strip(result) == result
    with pytest.raises(AssertionError):
        assert_no_metadata(data)


@pytest.mark.parametrize("format_", TYPES)
def test_a_file_without_metadata_comes_back_unchanged(format_: str) -> None:
    profile = {} if format_ == "GIF" else {"icc_profile": b"a profile of colours"}
    for options in ({}, profile):
        data = drawn(format_, **options)
        assert strip(data) == data


@pytest.mark.parametrize("format_", MOVING)
def test_an_animation_still_plays_as_before(format_: str) -> None:
    others = [halves(64, 32).transpose(Image.Transpose.ROTATE_180), Image.effect_noise((64, 32), 90).convert("RGB")]
    moving: dict[str, Any] = {"save_all": True, "append_images": others, "duration": [70, 80, 90], "loop": 3}
    data = with_all_metadata(format_, **moving)
    result = strip(data)
    assert_no_metadata(result)
    assert frames(result) == frames(data)
    assert len(frames(result)) == 3
    before, after = (Image.open(io.BytesIO(one)) for one in (data, result))
    assert after.info["loop"] == before.info["loop"]
    for n in range(3):
        for image in (before, after):
            image.seek(n)
            image.load()
        assert after.info["duration"] == before.info["duration"] == [70, 80, 90][n]
    still = drawn(format_, **moving)
    assert strip(still) == still


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_kept(format_: str, orientation: int) -> None:
    data = drawn(format_, exif=tags(orientation))
    result = strip(data)
    assert_no_metadata(result)
    assert inspect(result) == inspect(data)
    assert inspect(data).orientation == orientation
    assert not dict(Image.open(io.BytesIO(result)).getexif()).keys() - {ORIENTATION}
    before, after = (ImageOps.exif_transpose(Image.open(io.BytesIO(one))) for one in (data, result))
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("path", corpus("exif-orientation/*_[1-8].jpg", by_default=7))
def test_the_orientation_of_foreign_photos_is_kept(path: Path) -> None:
    data = path.read_bytes()
    result = strip(data)
    assert inspect(result) == inspect(data)
    assert frames(result) == frames(data)
    assert len(result) < len(data), "they name the program that rotated them"


@pytest.mark.parametrize("format_", TYPES)
@pytest.mark.parametrize("tail", [b"PK\x03\x04 a ZIP", b"<script>alert(1)</script>", drawn("JPEG"), b"\0"])
def test_trailing_data_is_removed(format_: str, tail: bytes) -> None:
    data = drawn(format_)
    assert strip(data + tail) == data


def strings_in(exif: Image.Exif) -> set[bytes]:
    """Texts in the EXIF: names, serial numbers, dates, the first bytes of a maker note."""
    values = [value for ifd in (exif, exif.get_ifd(0x8769), exif.get_ifd(GPS)) for value in dict(ifd).values()]
    texts = [
        value if isinstance(value, bytes) else value.encode() for value in values if isinstance(value, str | bytes)
    ]
    return {text.strip(b"\0 ")[:24] for text in texts if len(text.strip(b"\0 ")) > 4}


@pytest.mark.parametrize("path", corpus("photos/*.*", by_default={"c1_cmyk_swop.jpg", "w1_real_1mp_lossless.webp"}))
def test_a_real_photo_keeps_its_looks_and_loses_its_metadata(path: Path) -> None:
    data = path.read_bytes()
    result = strip(data)
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(result))
    assert inspect(result) == inspect(data)
    assert after.tobytes() == before.tobytes()
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    public = result.replace(before.info.get("icc_profile") or b"no profile", b"")
    words = {b"http://ns.adobe.com", b"Photoshop 3.0", b"xmpmeta", b"GPS", b"MPF\0", b"Apple iOS", b"Canon", b"iPhone"}
    assert not [word for word in words | strings_in(before.getexif()) if word in public]
    assert not dict(after.getexif()).keys() - {ORIENTATION}
    assert not after.getexif().get_ifd(GPS)


def test_the_corpus_has_metadata_to_lose(photo: Callable[[str], bytes]) -> None:
    """So that the test above can fail."""
    said = strings_in(Image.open(io.BytesIO(photo("h2_iphone_12mp_gps.heic"))).getexif())
    assert b"iPhone 7" in said
    assert len(said) >= 6


@pytest.mark.parametrize("path", corpus("pillow-malformed/*", "pngsuite/*", by_default=8))
def test_files_that_broke_pillow_are_cleaned_or_refused(path: Path) -> None:
    data = path.read_bytes()
    try:
        type = inspect(data).type
    except RejectedFile:
        return
    result = strip_metadata(data, type)
    if type in {"image/bmp", "image/tiff"}:
        assert result is None
    else:
        assert result is not None
        assert inspect(result) == inspect(data)
        assert looks(data) in (None, looks(result))


def looks(data: bytes) -> bytes | None:
    with suppress(OSError, ValueError, SyntaxError, UserWarning):  # malformed files raise all of them
        return Image.open(io.BytesIO(data)).tobytes()
    return None


WHOLE = [with_all_metadata(format_, **({"save_all": True} if format_ in MOVING else {})) for format_ in TYPES]


@pytest.mark.parametrize("examples", [300, pytest.param(EXAMPLES or 5000, id="many", marks=pytest.mark.storm)])
def test_a_file_with_any_change_is_cleaned_or_refused(examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=not EXAMPLES,
        phases=tuple(Phase) if EXAMPLES else (Phase.explicit, Phase.generate),
        database=None,
        deadline=None,
    )
    @given(
        data=st.sampled_from(WHOLE),
        changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=6),
    )
    @example(data=drawn("GIF"), changes=[(0.3, 0, b"\x01" * 9)])
    def check(data: bytes, changes: list[tuple[float, int, bytes]]) -> None:
        type, changed = sniff(data), bytearray(data)
        for where, removed, put in changes:
            at = int(where**3 * len(changed))  # more often in the headers
            changed[at : at + removed] = put
        try:
            result = strip_metadata(bytes(changed), type)
        except RejectedFile:
            return
        assert result is None or len(result) <= len(changed) + 2

    check()
