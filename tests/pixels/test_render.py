"""Pixels in, renditions out. Case numbers are those of reliability.md, section 3."""

import io
import math
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps

from portal.pixels.inspect import Picture, Refused, inspect
from portal.pixels.placeholder import placeholder
from portal.pixels.render import Rendition, render, resize
from tests.pixels.files import CORPUS, corpus, decoded, difference, drawn, halves, photo

LIKE = 6.0  # mean difference that two encodings of one picture may have, of 255


def rendered(data: bytes, turns: int = 0) -> tuple[Image.Image, Image.Image]:
    result = render(data, inspect(data), turns)
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


@pytest.mark.parametrize("path", corpus("photos/*.*"))
def test_b15_real_photos_keep_their_looks_and_lose_their_metadata(path: Path) -> None:
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


@pytest.mark.parametrize("path", corpus("exif-orientation/Landscape_[1-8].jpg", "exif-orientation/Portrait_[367].jpg"))
def test_b14_every_orientation_comes_out_upright(path: Path) -> None:
    large, thumb = rendered(path.read_bytes())
    upright = decoded(path.with_name(path.stem[:-1] + "1.jpg").read_bytes())
    assert difference(large.resize((180, 180)), upright.resize((180, 180))) < LIKE
    assert difference(thumb.resize((180, 180)), upright.resize((180, 180))) < LIKE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("turns", range(4))
def test_c11_turns_are_clockwise_and_come_after_exif(orientation: int, turns: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    picture = halves()
    picture.paste((30, 220, 30), (0, 16, 64, 32))
    data = drawn("JPEG", picture, exif=tags, quality=95)
    clockwise = {0: 0, 1: 270, 2: 180, 3: 90}[turns]  # Pillow turns counter-clockwise
    expected = ImageOps.exif_transpose(decoded(data)).rotate(clockwise, expand=True)
    result = render(data, inspect(data), turns)
    assert (result.width, result.height) == expected.size
    assert difference(decoded(result.large.data), expected) < LIKE


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_b14_other_types_come_out_upright_too(format_: str, orientation: int) -> None:
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
        ("JPEG", (4000, 3000), (2000, 1500)),
        ("JPEG", (5000, 1000), (2048, 410)),
        ("JPEG", (2049, 100), (2048, 100)),
        ("JPEG", (1800, 100), (1800, 100)),
        ("JPEG", (16_000, 10), (2000, 2)),
        ("JPEG", (7, 16_384), (1, 2048)),
        ("PNG", (4032, 3024), (2016, 1512)),
        ("PNG", (6000, 300), (2000, 100)),
        ("PNG", (2500, 2500), (2048, 2048)),
        ("PNG", (16_384, 1), (2048, 1)),
    ],
)
def test_the_large_fits_2048_and_halves_are_taken_as_they_are(
    format_: str, size: tuple[int, int], large: tuple[int, int]
) -> None:
    image, _ = rendered(drawn(format_, halves(*size)))
    assert image.size == large


RED = (220, 30, 30)
MODES = {
    "grey": (Image.new("L", (40, 40), 90), (90, 90, 90)),
    "one bit": (Image.new("1", (40, 40), 1), (255, 255, 255)),
    "palette": (Image.new("RGB", (40, 40), RED).convert("P", palette=Image.Palette.ADAPTIVE), RED),
    "16-bit grey": (Image.new("I;16", (40, 40), 90 * 257), (90, 90, 90)),
    "see-through": (Image.new("RGBA", (40, 40), (0, 0, 0, 0)), (255, 255, 255)),
    "half see-through": (Image.new("RGBA", (40, 40), (255, 0, 0, 128)), (255, 127, 127)),
    "grey with alpha": (Image.new("LA", (40, 40), (90, 255)), (90, 90, 90)),
    "grey, see-through": (Image.new("LA", (40, 40), (90, 0)), (255, 255, 255)),
}


@pytest.mark.parametrize("name", MODES)
def test_b13_every_kind_of_png_has_right_colours(name: str) -> None:
    image, colour = MODES[name]
    large, thumb = rendered(drawn("PNG", image))
    for made in (large, thumb):
        assert difference(made, Image.new("RGB", (40, 40), colour)) < 4


def test_b13_a_palette_with_a_transparent_colour_is_laid_onto_white() -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, *RED])
    large, _ = rendered(drawn("PNG", image, transparency=1))
    assert difference(large, Image.new("RGB", (40, 40), "white")) < 4


def test_b13_lab_and_cmyk_have_right_colours() -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    for data in (
        drawn("TIFF", lab.apply(Image.new("RGB", (40, 40), RED))),
        drawn("JPEG", Image.new("RGB", (40, 40), RED).convert("CMYK")),
    ):
        large, _ = rendered(data)
        assert difference(large, Image.new("RGB", (40, 40), RED)) < LIKE


def test_b13_a_wide_colour_is_converted_not_relabelled() -> None:
    data = photo("j09_iphone_12mp_or6_gps_p3.jpg")
    _, thumb = rendered(data)
    untouched = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).resize(thumb.size)
    right = reference(data, thumb.size)
    assert difference(thumb, right) < difference(thumb, untouched)


@pytest.mark.parametrize("icc", [b"x", bytes(200), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_b13_a_broken_or_foreign_profile_is_passed_over(icc: bytes) -> None:
    large, _ = rendered(drawn("JPEG", icc_profile=icc))
    assert difference(large, halves()) < LIKE


def test_b11_only_the_first_frame_is_looked_at() -> None:
    frames = [Image.new("RGB", (64, 32), colour) for colour in ("red", "lime", "blue")]
    for format_ in ("GIF", "PNG", "WEBP", "AVIF"):
        large, _ = rendered(drawn(format_, frames[0], save_all=True, append_images=frames[1:]))
        assert getattr(large, "n_frames", 1) == 1
        assert difference(large, frames[0]) < LIKE


def test_b4_no_script_survives_in_what_is_made() -> None:
    script = b"<script>alert(1)</script>"
    data = drawn("JPEG", comment=script) + script
    assert script in data
    result = render(data, inspect(data))
    assert b"<script" not in result.large.data + result.thumb.data


def test_b12_broken_pixels_are_refused() -> None:
    data = bytearray(drawn("PNG", Image.effect_noise((200, 200), 50)))
    data[2000:3000] = bytes(1000)
    with pytest.raises(Refused):
        render(bytes(data), inspect(bytes(data)))


def test_another_file_than_the_inspected_one_is_refused() -> None:
    with pytest.raises(Refused):
        render(drawn("JPEG"), Picture("image/jpeg", 10, 10))
    with pytest.raises(Refused):
        render(drawn("PNG"), Picture("image/jpeg", 64, 32))


TYPES = {"image/webp": "WEBP", "image/jpeg": "JPEG", "image/avif": "AVIF"}


@pytest.mark.parametrize("type_", TYPES)
def test_a_rendition_is_as_wide_as_asked_for_and_upright(type_: str) -> None:
    data = photo("j09_iphone_12mp_or6_gps_p3.jpg")
    rendition = resize(data, inspect(data), 640, type_)
    image = decoded(rendition.data)
    assert (image.format, image.size) == (TYPES[type_], (640, 853))
    assert (rendition.type, rendition.width, rendition.height) == (type_, 640, 853)
    assert difference(image.resize((160, 213)), reference(data, (160, 213))) < LIKE


@pytest.mark.parametrize("type_", TYPES)
def test_a_rendition_can_be_made_from_the_stored_large(type_: str) -> None:
    data = photo("j13_s90_10mp.jpg")
    large = render(data, inspect(data)).large
    rendition = resize(large.data, inspect(large.data), 400, type_)
    assert (rendition.width, rendition.height) == (400, 300)
    assert difference(decoded(rendition.data), reference(data, (400, 300))) < LIKE


def test_a_rendition_is_never_enlarged_and_turns_as_told() -> None:
    data = drawn("JPEG", halves(300, 200))
    assert size(resize(data, inspect(data), 5000, "image/jpeg")) == (300, 200)
    assert size(resize(data, inspect(data), 5000, "image/jpeg", turns=1)) == (200, 300)
    assert size(resize(data, inspect(data), 100, "image/webp", turns=3)) == (100, 150)


def size(rendition: Rendition) -> tuple[int, int]:
    return rendition.width, rendition.height


@pytest.mark.parametrize("path", corpus("pngsuite/png_PngSuite_[!xg]*.png"))
def test_b13_the_png_suite_looks_right(path: Path) -> None:
    """All but x* (corrupt) and g* (gamma, which we don't apply), beside Pillow's own reading on white."""
    data = path.read_bytes()
    large, _ = rendered(data)
    image = decoded(data)
    if image.mode == "I;16":
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    expected = Image.new("RGBA", image.size, "white")
    expected.alpha_composite(image.convert("RGBA"))
    again = decoded(drawn("WEBP", expected.convert("RGB"), quality=81, method=2))  # it blurs primary colours
    assert difference(large, again) < 2


def shown(value: int) -> list[tuple[float, float, float]]:
    """What the stylesheet makes of the integer: six colours, (L, a, b), row by row."""
    n = value + 524288
    base = math.floor(n / 64) % 4 / 3 * 0.6 + 0.2
    a, b = math.floor(n / 8) % 8 / 7 * 0.14 - 0.07, n % 8 / 7 * 0.14 - 0.07
    places = (262144, 65536, 16384, 4096, 1024, 256)
    return [(base + math.floor(n / place) % 4 * 0.2 - 0.3, a, b) for place in places]


def test_the_placeholder_is_light_where_the_photo_is() -> None:
    image = Image.new("RGB", (30, 20), "black")
    image.paste("white", (20, 0, 30, 10))
    lightness = [cell[0] for cell in shown(placeholder(image))]
    assert max(range(6), key=lightness.__getitem__) == 2  # top right
    assert lightness[2] - max(lightness[:2] + lightness[3:]) > 0.3


@pytest.mark.parametrize(("colour", "axis", "sign"), [("red", 1, 1), ("green", 1, -1), ("gold", 2, 1), ("blue", 2, -1)])
def test_the_placeholder_has_the_photos_tint(colour: str, axis: int, sign: int) -> None:
    cells = shown(placeholder(Image.new("RGB", (30, 20), colour)))
    assert all(cell[axis] * sign > 0.03 for cell in cells)


@pytest.mark.parametrize("grey", range(0, 256, 15))
def test_a_grey_photos_placeholder_is_near_its_grey(grey: int) -> None:
    value = placeholder(Image.new("RGB", (30, 20), (grey, grey, grey)))
    assert -524288 <= value < 524288
    linear = grey / 255 / 12.92 if grey <= 10 else ((grey / 255 + 0.055) / 1.055) ** 2.4
    wanted = min(0.1 + 1, linear ** (1 / 3))
    for lightness, a, b in shown(value):
        assert abs(lightness - wanted) <= 0.101
        assert abs(a) < 0.02 > abs(b)


def test_the_corpus_holds_a_gps_position_to_lose() -> None:
    """So that the test above for metadata can fail."""
    if not CORPUS.is_dir():
        pytest.skip("no foreign images")
    tags = Image.open(io.BytesIO(photo("j05_a2500_16mp_gps.jpg"))).getexif()
    assert tags.get_ifd(0x8825)
