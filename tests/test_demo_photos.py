"""The demo photos that fill a newcomer's gallery."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from portal.demo import photos
from portal.demo.photos import PHOTOS, Photo


def test_the_folder_has_exactly_these_files_and_at_most_2_mb() -> None:
    files = [path for path in Path(photos.__file__).parent.iterdir() if path.suffix in (".jpg", ".webp")]
    assert sorted(path.name for path in files) == sorted(photo.file_name for photo in PHOTOS)
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    assert len({photo.alt_text for photo in PHOTOS}) == len(PHOTOS) == 8


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.file_name)
def test_each_photo_opens_with_its_documented_type(photo: Photo) -> None:
    with Image.open(BytesIO(photo.read())) as image:
        image.load()
        assert (Image.MIME[image.format or ""], image.mode, image.size) == (photo.type, "RGB", (2048, 1365))
    assert 0 < len(photo.alt_text) <= 120


def test_the_portrait_is_stored_sideways_and_upright_once_rotated() -> None:
    """Sky in the arch above, stone below: a wrong direction of rotation would swap them."""
    with Image.open(BytesIO(PHOTOS[-1].read())) as image:
        upright = ImageOps.exif_transpose(image)
    assert upright.size == (1365, 2048)
    sky = upright.crop((614, 546, 751, 648)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    stone = upright.crop((614, 1920, 751, 2030)).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(sky, tuple)
    assert isinstance(stone, tuple)
    assert sky[2] > sky[0]
    assert stone[0] > stone[2]
