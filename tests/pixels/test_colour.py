"""Every kind of colour is converted to sRGB correctly."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps

from tests.pixels.files import corpus, decoded, difference, drawn, halves, photo
from tests.pixels.test_render import LIKE, reference, rendered

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
def test_every_kind_of_png_has_the_right_colours(name: str) -> None:
    image, colour = MODES[name]
    large, thumb = rendered(drawn("PNG", image))
    for made in (large, thumb):
        assert difference(made, Image.new("RGB", (40, 40), colour)) < 4


def test_a_palette_with_a_transparent_colour_is_composed_on_white() -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, *RED])
    large, _ = rendered(drawn("PNG", image, transparency=1))
    assert difference(large, Image.new("RGB", (40, 40), "white")) < 4


def test_lab_and_cmyk_have_the_right_colours() -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    for data in (
        drawn("TIFF", lab.apply(Image.new("RGB", (40, 40), RED))),
        drawn("JPEG", Image.new("RGB", (40, 40), RED).convert("CMYK")),
    ):
        large, _ = rendered(data)
        assert difference(large, Image.new("RGB", (40, 40), RED)) < LIKE


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_wide_gamut_is_converted_not_relabelled(is_whole: bool) -> None:
    data = photo("j09_iphone_12mp_or6_gps_p3.jpg")
    if not is_whole:
        data = drawn("JPEG", icc_profile=Image.open(io.BytesIO(data)).info["icc_profile"])
    _, thumb = rendered(data)
    untouched = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).resize(thumb.size)
    right = reference(data, thumb.size)
    assert difference(thumb, right) < difference(thumb, untouched)


@pytest.mark.parametrize("icc", [b"x", bytes(200), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_broken_or_foreign_profile_is_ignored(icc: bytes) -> None:
    large, _ = rendered(drawn("JPEG", icc_profile=icc))
    assert difference(large, halves()) < LIKE


@pytest.mark.parametrize("path", corpus("pngsuite/png_PngSuite_[!xg]*.png", by_default=4))
def test_the_png_suite_looks_right(path: Path) -> None:
    """All but x* (corrupt) and g* (gamma, which we don't apply), compared with Pillow's reading on white."""
    data = path.read_bytes()
    large, _ = rendered(data)
    image = decoded(data)
    if image.mode == "I;16":
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    expected = Image.new("RGBA", image.size, "white")
    expected.alpha_composite(image.convert("RGBA"))
    again = decoded(drawn("WEBP", expected.convert("RGB"), quality=81, method=2))  # it blurs primary colours
    assert difference(large, again) < 2
