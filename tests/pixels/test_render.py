"""Pixels in, renditions out."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps

from portal.pixels.inspect import RejectedFile, inspect
from portal.pixels.picture import Picture
from portal.pixels.render import Rendition, render, resize
from tests.pixels.files import CORPUS, corpus, decoded, difference, drawn, halves, photo

LIKE = 6.0  # allowed mean difference of two encodings of one picture, of 255


def slow(*case: object) -> Any:
    return pytest.param(*case, marks=pytest.mark.slow)


def rendered(data: bytes, quarter_turns: int = 0) -> tuple[Image.Image, Image.Image]:
    result = render(data, inspect(data), quarter_turns)
    return decoded(result.large.data), decoded(result.thumb.data)


def reference(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The same picture, upright and in sRGB, made the slow and plain way."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    icc = image.info.get("icc_profile")
    if icc:
        srgb = ImageCms.createProfile("sRGB")
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.NONE
        if image.mode == "CMYK":
            intent, flags = ImageCms.Intent.PERCEPTUAL, ImageCms.Flags.BLACKPOINTCOMPENSATION
        converted = ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, intent, "RGB", flags=flags)
        assert converted is not None
        image = converted
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def test_a_photo_becomes_a_large_and_a_thumb() -> None:
    data = photo("j13_s90_10mp.jpg")
    result = render(data, inspect(data))
    assert (result.width, result.height) == (3648, 2736)
    assert (result.large.width, result.large.height) == (1824, 1368)
    assert (result.thumb.width, result.thumb.height) == (480, 360)
    for rendition in (result.large, result.thumb):
        image = decoded(rendition.data)
        assert (image.format, image.size) == ("WEBP", (rendition.width, rendition.height))
        assert rendition.type == "image/webp"


@pytest.mark.parametrize("path", corpus("photos/*.*", by_default={"c1_cmyk_swop.jpg", "w1_real_1mp_lossless.webp"}))
def test_real_photos_keep_their_looks_and_lose_their_metadata(path: Path) -> None:
    data = path.read_bytes()
    result = render(data, inspect(data))
    thumb = decoded(result.thumb.data)
    assert max(result.large.width, result.large.height) <= 2048
    assert max(thumb.size) == 480
    assert difference(thumb, reference(data, thumb.size)) < LIKE
    made = [result.large, result.thumb]
    if path.suffix == ".jpg":
        made += [resize(data, inspect(data), 320, type_) for type_ in TYPES]
    words = (
        b"Exif\0\0",
        b"EXIF",
        b"XMP ",
        b"xmpmeta",
        b"ICC_PROFILE",
        b"ICCP",
        b"Apple",
        b"Canon",
        b"Photoshop",
    )
    for rendition in made:
        assert not [word for word in words if word in rendition.data]
        image = decoded(rendition.data)
        assert not {"exif", "xmp", "icc_profile", "comment", "photoshop"} & image.info.keys()
        assert not dict(image.getexif())


@pytest.mark.parametrize(
    "path",
    corpus(
        "exif-orientation/Landscape_[1-8].jpg", "exif-orientation/Portrait_[367].jpg", by_default={"Portrait_6.jpg"}
    ),
)
def test_every_orientation_comes_out_upright(path: Path) -> None:
    large, thumb = rendered(path.read_bytes())
    upright = decoded(path.with_name(path.stem[:-1] + "1.jpg").read_bytes())
    assert difference(large.resize((180, 180)), upright.resize((180, 180))) < LIKE
    assert difference(thumb.resize((180, 180)), upright.resize((180, 180))) < LIKE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("quarter_turns", range(4))
def test_rotation_is_clockwise_and_applied_after_exif(orientation: int, quarter_turns: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    picture = halves()
    picture.paste((30, 220, 30), (0, 16, 64, 32))
    data = drawn("JPEG", picture, exif=tags, quality=95)
    clockwise = {0: 0, 1: 270, 2: 180, 3: 90}[quarter_turns]  # Pillow rotates counter-clockwise
    expected = ImageOps.exif_transpose(decoded(data)).rotate(clockwise, expand=True)
    result = render(data, inspect(data), quarter_turns)
    assert (result.width, result.height) == expected.size
    assert difference(decoded(result.large.data), expected) < LIKE


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_other_types_come_out_upright_too(format_: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(drawn("PNG", exif=tags))))
    large, _ = rendered(drawn(format_, exif=tags))
    assert difference(large, upright) < LIKE


def test_nothing_is_enlarged() -> None:
    large, thumb = rendered(drawn("JPEG", halves(300, 200)))
    assert large.size == thumb.size == (300, 200)


@pytest.mark.parametrize(
    ("format_", "size", "large"),
    [
        ("JPEG", (4032, 3024), (2016, 1512)),
        slow("JPEG", (4000, 3000), (2000, 1500)),
        ("JPEG", (5000, 1000), (2048, 410)),
        ("JPEG", (2049, 100), (2048, 100)),
        ("JPEG", (1800, 100), (1800, 100)),
        ("JPEG", (16_000, 10), (2000, 2)),
        ("JPEG", (7, 16_384), (1, 2048)),
        slow("PNG", (4032, 3024), (2016, 1512)),
        ("PNG", (6000, 300), (2000, 100)),
        ("PNG", (2500, 2500), (2048, 2048)),
        ("PNG", (16_384, 1), (2048, 1)),
    ],
)
def test_the_large_fits_2048_and_exact_halves_are_used_as_they_are(
    format_: str, size: tuple[int, int], large: tuple[int, int]
) -> None:
    image, _ = rendered(drawn(format_, halves(*size)))
    assert image.size == large


def test_only_the_first_frame_is_used() -> None:
    frames = [Image.new("RGB", (64, 32), colour) for colour in ("red", "lime", "blue")]
    for format_ in ("GIF", "PNG", "WEBP", "AVIF"):
        large, _ = rendered(drawn(format_, frames[0], save_all=True, append_images=frames[1:]))
        assert getattr(large, "n_frames", 1) == 1
        assert difference(large, frames[0]) < LIKE


def test_no_script_survives_in_renditions() -> None:
    script = b"<script>alert(1)</script>"
    data = drawn("JPEG", comment=script) + script
    assert script in data
    result = render(data, inspect(data))
    assert b"<script" not in result.large.data + result.thumb.data


def test_broken_pixels_are_refused() -> None:
    data = bytearray(drawn("PNG", Image.effect_noise((200, 200), 50)))
    data[2000:3000] = bytes(1000)
    with pytest.raises(RejectedFile):
        render(bytes(data), inspect(bytes(data)))


def test_a_file_other_than_the_inspected_one_is_refused() -> None:
    with pytest.raises(RejectedFile):
        render(drawn("JPEG"), Picture("image/jpeg", 10, 10))
    with pytest.raises(RejectedFile):
        render(drawn("PNG"), Picture("image/jpeg", 64, 32))


TYPES = {"image/webp": "WEBP", "image/jpeg": "JPEG", "image/avif": "AVIF"}


@pytest.mark.parametrize("type_", [slow("image/webp"), "image/jpeg", slow("image/avif")])
def test_a_rendition_has_the_requested_width_and_is_upright(type_: str) -> None:
    data = photo("j09_iphone_12mp_or6_gps_p3.jpg")
    rendition = resize(data, inspect(data), 640, type_)
    image = decoded(rendition.data)
    assert (image.format, image.size) == (TYPES[type_], (640, 853))
    assert (rendition.type, rendition.width, rendition.height) == (type_, 640, 853)
    assert difference(image.resize((160, 213)), reference(data, (160, 213))) < LIKE


@pytest.mark.parametrize("type_", [slow("image/webp"), slow("image/jpeg"), "image/avif"])
def test_a_rendition_can_be_made_from_the_stored_large(type_: str) -> None:
    data = photo("j13_s90_10mp.jpg")
    large = render(data, inspect(data)).large
    rendition = resize(large.data, inspect(large.data), 400, type_)
    assert (rendition.width, rendition.height) == (400, 300)
    assert difference(decoded(rendition.data), reference(data, (400, 300))) < LIKE


def test_a_rendition_is_never_enlarged_and_rotates_as_requested() -> None:
    data = drawn("JPEG", halves(300, 200))
    assert size(resize(data, inspect(data), 5000, "image/jpeg")) == (300, 200)
    assert size(resize(data, inspect(data), 5000, "image/jpeg", quarter_turns=1)) == (200, 300)
    assert size(resize(data, inspect(data), 100, "image/webp", quarter_turns=3)) == (100, 150)


def size(rendition: Rendition) -> tuple[int, int]:
    return rendition.width, rendition.height


def test_the_corpus_holds_a_gps_position_to_lose() -> None:
    """So that the metadata test above can fail."""
    if not CORPUS.is_dir():
        pytest.skip("no foreign images")
    tags = Image.open(io.BytesIO(photo("j05_a2500_16mp_gps.jpg"))).getexif()
    assert tags.get_ifd(0x8825)
