"""Image CDN contract, "Image Storage Structure" and "Error Handling and Fallbacks", over HTTP."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from portal.db import db
from portal.demo.pms.server import PmsReply
from portal.pixels.strip import strip_metadata
from tests import factories
from tests.contracts.image_cdn import ENABLE, ImageCdn, md5, objects
from tests.contracts.test_property_images_api import padded
from tests.faults import bucket_behind_a_proxy
from tests.pixels.files import corpus, drawn

LIMIT = 50 * 1024 * 1024
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
KEY = re.compile(rf"{UUID}/{UUID}/(?:thumbnail|gallery/\d+)_[0-9a-f]{{32}}\.(?:jpg|png|webp|gif|avif|heic)")
HEIC = corpus("photos/*.heic")
FORMATS = {
    "jpg": ("image/jpeg", lambda: drawn("JPEG")),
    "png": ("image/png", lambda: drawn("PNG")),
    "webp": ("image/webp", lambda: drawn("WEBP")),
    "gif": ("image/gif", lambda: drawn("GIF")),
    "avif": ("image/avif", lambda: drawn("AVIF")),
}
NO_IMAGES = {
    "html": b"<!doctype html><html><body><img src=1.jpg></body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "bmp": drawn("BMP"),
    "tiff": drawn("TIFF"),
    "pdf": b"%PDF-1.7\n",
    "nothing": b"",
    "the magic alone": b"\xff\xd8\xff",
    "half of it": factories.jpeg()[:4000],
}


@pytest.fixture
def cdn(cdn: ImageCdn) -> ImageCdn:
    """The client, with the Image CDN on."""
    cdn.switch(ENABLE)
    return cdn


@pytest.fixture
def one(cdn: ImageCdn) -> ImageCdn:
    """The client, with a single listing in the PMS."""
    for listing in (2, 3):
        cdn.pms.catalogue.remove(listing)
    return cdn


@contextmanager
def without_a_table(name: str) -> Iterator[None]:
    """Rename a table for a while, so that every query of it fails."""
    with db.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {name} RENAME TO away"))
    try:
        yield
    finally:
        with db.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE away RENAME TO {name}"))


class TestStorageStructure:
    def test_the_keys(self, cdn: ImageCdn) -> None:
        cdn.cycle()
        expected = set()
        for fake in cdn.pms.catalogue.listings.values():
            folder = f"{cdn.person.workspace.uuid}/{cdn.listing(fake.id)['id']}"
            expected.add(f"{folder}/thumbnail_{fake.pictures[0].md5}.jpg")
            expected |= {f"{folder}/gallery/{n}_{picture.md5}.jpg" for n, picture in enumerate(fake.pictures)}
        assert objects() == expected
        assert all(KEY.fullmatch(key) for key in objects())
        assert {cdn.key(image["cdnURL"]) for n in (1, 2, 3) for image in cdn.images(n)} == expected

    def test_the_same_image_uploaded_again_keeps_its_key(self, cdn: ImageCdn) -> None:
        cdn.cycle()
        before, downloads = cdn.image(1), cdn.downloads
        stored = objects()
        cdn.said("POST", f"/api/v1/listings/{before['listingID']}/images/{before['id']}/retry")
        cdn.pms.catalogue.served.clear()  # so that the PMS cannot answer "not modified"
        cdn.serve(1, cdn.pms.catalogue.listings[1].pictures[1].bytes())
        cdn.upload()
        assert cdn.downloads == downloads + 1
        assert (cdn.image(1)["cdnURL"], objects()) == (before["cdnURL"], stored)

    def test_the_formats(self, one: ImageCdn) -> None:
        for name, (type, drawing) in FORMATS.items():
            self.comes_through(one, f"1/photo.html?format={name}", "text/html", name, type, drawing())

    @pytest.mark.parametrize("path", HEIC)
    def test_heic(self, one: ImageCdn, path: Path) -> None:
        self.comes_through(one, "1/photo.jpg", "image/jpeg", "heic", "image/heic", path.read_bytes())

    def comes_through(self, cdn: ImageCdn, address: str, stated: str, name: str, type: str, data: bytes) -> None:
        cdn.pms.catalogue.listings[1].pictures[1].name = address
        cdn.pms.fail_next(1, PmsReply(200, data, {"Content-Type": stated}), below="/pictures/1/photo")
        cdn.cycle()
        image = cdn.image(1)
        assert (image["failureReason"], image["imageHash"]) == (None, md5(data))
        assert image["cdnURL"].endswith(f"/gallery/1_{md5(data)}.{name}")
        assert cdn.served(image["cdnURL"]) == strip_metadata(data, type)
        assert cdn.pictures()[1] == image["cdnURL"]

    @pytest.mark.slow
    def test_exactly_50_mb_is_accepted_and_one_byte_more_is_skipped(self, cdn: ImageCdn) -> None:
        photo = factories.jpeg()
        largest = padded(photo, LIMIT)
        cdn.serve_large(1, largest)
        cdn.serve_large(2, padded(photo, LIMIT + 1))
        cdn.cycle()
        passed, skipped = cdn.image(1), cdn.image(2)
        assert (passed["failureReason"], passed["imageHash"]) == (None, md5(largest))
        assert cdn.served(passed["cdnURL"]) == strip_metadata(largest, "image/jpeg")
        assert (skipped["cdnURL"], skipped["imageHash"]) == (None, None)
        assert skipped["failureReason"] == "Image too large: it exceeds 50 MB"


class TestErrorHandling:
    """A test for each bullet of "Error Handling and Fallbacks"."""

    def falls_back(self, cdn: ImageCdn, number: int = 1) -> Any:
        """Check that this picture alone keeps its PMS URL and has no copy; return the failure reason."""
        image = cdn.image(number)
        assert (image["cdnURL"], image["imageHash"], image["lastCheckedAt"]) == (None, None, None)
        assert image["originalURL"] == cdn.pms_url(number)
        assert [n for n, url in enumerate(cdn.pictures()) if url == cdn.pms_url(n)] == [number]
        assert {key.rpartition("/")[2].partition("_")[0] for key in objects()} == {"thumbnail", *"0123"} - {str(number)}
        return image["failureReason"]

    def test_pms_image_returns_404(self, one: ImageCdn) -> None:
        one.fail(1, 404)
        one.cycle()
        assert self.falls_back(one) == "PMS image returns 404"

    def test_image_too_large(self, one: ImageCdn) -> None:
        one.serve_large(1, b"\xff\xd8\xff" + bytes(LIMIT))
        one.cycle()
        assert self.falls_back(one) == "Image too large: it exceeds 50 MB"
        one.wait_for_its_time()
        assert self.falls_back(one) == "Image too large: it exceeds 50 MB", "it is not retried"

    def test_invalid_image_format(self, one: ImageCdn) -> None:
        one.serve(1, NO_IMAGES["html"], "image/jpeg")
        one.pms.catalogue.add(len(NO_IMAGES))
        for number, data in enumerate(NO_IMAGES.values()):
            one.serve(number, data, "image/jpeg", listing=4)
        one.cycle()
        images = {name: one.image(number, listing=4) for number, name in enumerate(NO_IMAGES)}
        assert {image["cdnURL"] for image in images.values()} == {None}
        assert one.pictures(4) == [image["originalURL"] for image in images.values()]
        reasons = {name: image["failureReason"] for name, image in images.items()}
        assert [name for name in reasons if not reasons[name].startswith("Invalid image format: ")] == []
        assert self.falls_back(one).startswith("Invalid image format: ")

    def test_s3_upload_fails(self, one: ImageCdn, caplog: pytest.LogCaptureFixture) -> None:
        with bucket_behind_a_proxy() as front:
            front.answer = lambda request: 403 if "/gallery/1_" in request.path else None
            one.cycle()
            assert self.falls_back(one) is None, "it will be retried"
            for _ in range(5):
                assert "S3 upload fails" not in caplog.text
                one.wait_for_its_time()
            attempts = sum("/gallery/1_" in request.path and request.method == "PUT" for request in front.asked)
        assert self.falls_back(one) == "S3 upload fails"
        assert attempts == 6
        assert [record.levelno for record in caplog.records if "S3 upload fails" in record.getMessage()] == [
            logging.WARNING
        ]

    def test_s3_upload_recovers(self, one: ImageCdn) -> None:
        with bucket_behind_a_proxy() as front:
            front.answer = lambda request: 403 if request.method == "PUT" else None
            one.cycle()
        assert {image["cdnURL"] for image in one.images()} == {None}
        one.wait_for_its_time()
        assert None not in {image["cdnURL"] for image in one.images()}
        assert {image["failureReason"] for image in one.images()} == {None}

    def test_cdn_enhancement_fails(self, one: ImageCdn, caplog: pytest.LogCaptureFixture) -> None:
        one.cycle()
        enhanced = one.listing()
        with without_a_table("listing_image"):
            plain = one.listing()
        assert [picture["url"] for picture in plain["pictures"]] == [one.pms_url(n) for n in range(4)]
        assert plain["thumbnailURL"] == one.pms_url(0)
        assert "substitution failed" in caplog.text
        assert one.listing() == enhanced
