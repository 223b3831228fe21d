"""The demo photos: what a newcomer's gallery is filled with."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageOps

from portal.demo.scenes import ORIENTATION, Scene, scenes

SCENES = list(scenes())


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {scene.file_name: scene.encoded() for scene in SCENES}


def test_eight_scenes_with_names_and_words_of_their_own() -> None:
    assert len(SCENES) == 8
    assert len({scene.file_name for scene in SCENES}) == 8
    assert len({scene.alt_text for scene in SCENES}) == 8
    assert all(0 < len(scene.alt_text) <= 120 for scene in SCENES)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.file_name)
def test_each_opens_as_what_it_says(scene: Scene, files: dict[str, bytes]) -> None:
    with Image.open(BytesIO(files[scene.file_name])) as image:
        image.load()
        assert Image.MIME[image.format or ""] == scene.type
        assert image.mode == "RGB"
        assert image.size == (2400, 1600)


def test_sizes_are_those_of_photos(files: dict[str, bytes]) -> None:
    sizes = {name: len(data) for name, data in files.items()}
    assert all(150_000 <= size <= 1_500_000 for size in sizes.values()), sizes


def test_exactly_one_lies_on_its_side_and_says_so(files: dict[str, bytes]) -> None:
    turned = []
    for name, data in files.items():
        with Image.open(BytesIO(data)) as image:
            if image.getexif().get(ORIENTATION) == 6:
                turned.append((name, ImageOps.exif_transpose(image).size))
    assert turned == [("garden-gate.jpg", (1600, 2400))]


def test_the_upright_one_is_upright_once_turned(files: dict[str, bytes]) -> None:
    """Sky in the arch above, stone below: a wrong sense of rotation would swap them."""
    with Image.open(BytesIO(files["garden-gate.jpg"])) as image:
        upright = ImageOps.exif_transpose(image)
    sky = upright.crop((720, 640, 880, 760)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    stone = upright.crop((720, 2250, 880, 2380)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(sky, tuple)
    assert isinstance(stone, tuple)
    assert sky[2] > sky[0]
    assert stone[0] > stone[2]


@pytest.mark.parametrize("index", [3, 4])
def test_drawing_twice_gives_the_same_bytes(index: int, files: dict[str, bytes]) -> None:
    assert SCENES[index].encoded() == files[SCENES[index].file_name]
