"""Whatever metadata a camera wrote into a file, no public byte contains any of it."""

from collections.abc import Callable
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from flask import Flask
from PIL import Image as Pillow
from PIL import ImageCms

from portal.db import db
from portal.images import keys
from portal.images.models import Property
from tests import factories

PHOTOS = {
    "j05_a2500_16mp_gps.jpg": "image/jpeg",
    "j09_iphone_12mp_or6_gps_p3.jpg": "image/jpeg",
    "h2_iphone_12mp_gps.heic": "image/heic",
    "j16_iphone4s_8mp_or6.jpg": "image/jpeg",
    "c1_cmyk_swop.jpg": "image/jpeg",
    "g1_gray_12mp.jpg": "image/jpeg",
    "p1_real_3mp.png": "image/png",
    "w1_real_1mp_lossless.webp": "image/webp",
}
BY_DEFAULT = "h2_iphone_12mp_gps.heic"
TELLTALES = (
    b"Exif",
    b"EXIF",
    b"http://ns.adobe.com",
    b"XMP ",
    b"GPS",
    b"Apple",
    b"iPhone",
    b"Canon",
    b"ICC_PROFILE",
    b"ICCP",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == BY_DEFAULT else pytest.mark.slow) for name in PHOTOS]
)
def test_every_public_form_of_a_real_photo_is_upright_and_without_metadata(
    app: Flask, home: Property, photo: Callable[[str], bytes], work_off: Callable[[], int], name: str
) -> None:
    data = photo(name)
    if len(data) > 10 * 1024 * 1024:
        pytest.fail("the corpus has changed: this photo is past the limit of an upload")
    image = factories.photo_in(home, data, name=name, type=PHOTOS[name])
    client = app.test_client()
    path = urlsplit(keys.image_url(image)).path
    before = [client.get(f"{path}?w=640", headers={"Accept": accept}).data for accept in ("*/*", "image/webp")]
    work_off()
    client.get(f"{path}?w=640", headers={"Accept": "image/avif"})
    work_off()
    db.session.rollback()
    assert image.variants == "ready"
    assert image.large_key
    assert image.thumb_key
    after = [client.get(f"{path}?w=640", headers={"Accept": accept}).data for accept in ("*/*", "image/avif")]
    stored = [client.get(urlsplit(keys.cdn_url(key)).path).data for key in (image.large_key, image.thumb_key)]
    for public in (*before, *after, *stored):
        assert not [word for word in TELLTALES if word in public]
        opened = Pillow.open(BytesIO(public))
        assert not opened.getexif()
        assert "icc_profile" not in opened.info or _is_srgb(opened.info["icc_profile"])
        assert abs(opened.width / opened.height - image.width / image.height) < 0.02, "as it is displayed"


def _is_srgb(profile: bytes) -> bool:
    return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
