"""Manage Property Images contract: each of its curl commands, against the running server, with real photos."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from portal.images.models import Property
from portal.infra import storage
from portal.webhooks import endpoints
from tests import factories
from tests.buckets import Buckets
from tests.contracts.manage import Manager, Photo, curl, done, events, failed, plainly, smaller, stored
from tests.factories import Person
from tests.pixels.files import difference

# Verbatim from the contract; host, token, numbers, file names and URLs are filled in below. Where it shows an e-mail
# placeholder, `images=@photo1.jpg` is meant (README, "The file field").
HEAD = """curl -X PUT "https://api.example.com/api/properties/123" \\
  -H "Authorization: Bearer YOUR_ADMIN_TOKEN" \\
"""
UPLOAD = '  -F "[email protected]" \\\n  -F "[email protected]" \\\n  -F "[email protected]"'
MAIN = '  -F "[email protected]" \\\n  -F "[email protected]" \\\n  -F "mainNewImageIndex=1"  # Second image is main'
ROTATE_NEW = (
    '  -F "[email protected]" \\\n  -F "[email protected]" \\\n'
    "  -F 'newImageRotations=[0,1]'  # Don't rotate first, rotate second 90°"
)
DELETE = "  -F 'imagesToDelete=[456,457,458]'  # Delete images with IDs 456, 457, 458"
ROTATE = """  -F 'existingImageRotations={"456":1,"457":2}'  # Rotate image 456 by 90°, image 457 by 180°"""
REORDER = """  -F 'imagesMeta=[{"id":456,"url":"https://...","orderIndex":0,"isMain":true},{"id":457,"url":"https://...","orderIndex":1,"isMain":false}]'"""
COMBINED = """  -F 'imagesToDelete=[456]' \\
  -F "[email protected]" \\
  -F "[email protected]" \\
  -F 'newImageRotations=[0,1]' \\
  -F 'existingImageRotations={"457":1}' \\
  -F 'imagesMeta=[{"id":457,"url":"https://...","orderIndex":0,"isMain":true},{"id":458,"url":"https://...","orderIndex":1,"isMain":false}]'"""
GENERATED = """curl --request PUT \\
  --url https://api.example.com/api/properties/:id \\
  --header 'Authorization: <authorization>' \\
  --header 'Content-Type: application/json' \\
  --data '
{
  "images": [
    null
  ],
  "mainNewImageIndex": 123,
  "newImageRotations": [
    123
  ],
  "imagesToDelete": [
    123
  ],
  "existingImageRotations": {},
  "imagesMeta": [
    {}
  ]
}
'"""
PHOTOS = ("j09_iphone_12mp_or6_gps_p3.jpg", "j13_s90_10mp.jpg", "p1_real_3mp.png")


class Document:
    """The contract's commands, filled in with a real property, images and files."""

    def __init__(self, manager: Manager, folder: Path, photo: Photo) -> None:
        self.manager, self.folder, self.photo = manager, folder, photo
        for name in PHOTOS:
            (folder / name).write_bytes(photo(name))

    def furnish(self) -> list[Any]:
        """Add three images, which stand for the contract's 456, 457 and 458."""
        small = [factories.jpeg(640, 480, colour) for colour in ((250, 20, 20), (20, 250, 20), (20, 20, 250))]
        return self.manager.add(*small)

    def run(self, command: str, there: list[Any] | None = None) -> Any:
        ids = {str(number): str(image["id"]) for number, image in zip((456, 457, 458), there or (), strict=False)}
        urls = {str(image["id"]): image["url"] for image in there or ()}
        files = iter(PHOTOS)
        command = re.sub(re.escape("[email protected]"), lambda _: f"images=@{next(files)}", HEAD + command)
        command = re.sub("456|457|458", lambda found: ids[found[0]], command)
        command = re.sub(
            r'"id":(\d+),"url":"https://\.\.\."', lambda found: f'"id":{found[1]},"url":"{urls[found[1]]}"', command
        )
        filled = {
            "https://api.example.com/api/properties/123": self.manager.url,
            "YOUR_ADMIN_TOKEN": self.manager.person.key,
        }
        return done(curl(command, self.folder, filled))


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["reduced", "original"])
def document(
    request: pytest.FixtureRequest, live: str, alice: Person, home: Property, tmp_path: Path, photo: Photo
) -> Document:
    """The commands with photos reduced to one megapixel; in the slow tier also with the originals."""
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    shown = photo if request.param else lambda name: smaller(photo(name))
    return Document(Manager(live, alice, home), tmp_path, shown)


def shows(url: str, photo: bytes, quarter_turns: int) -> None:
    """Check that both variants are this photo, upright, in sRGB, rotated by exactly these quarters."""
    for image in stored(url).values():
        looks = {}
        for other in range(4):
            plain = plainly(photo, other)
            if (image.width > image.height) == (plain.width > plain.height):
                looks[other] = difference(image.convert("RGB").resize(plain.size, Pillow.Resampling.LANCZOS), plain)
        assert looks[quarter_turns] < 3, looks
        assert min(looks, key=lambda other: looks[other]) == quarter_turns, looks


def test_upload_new_images(document: Document, buckets: Buckets) -> None:
    data = document.run(UPLOAD)
    home = document.manager.home
    assert {name: data[name] for name in ("id", "name", "bedrooms")} == {
        "id": str(home.id),
        "name": "Alder Cottage",
        "bedrooms": 2,
    }
    assert [image["isMain"] for image in data["imagesMeta"]] == [True, False, False]
    for url, name in zip(data["images"], PHOTOS, strict=True):
        shows(url, document.photo(name), 0)
    stems = [re.escape(url.partition("/cdn/")[2].removesuffix("-lg.webp")) for url in data["images"]]
    published = {key for bucket, key in buckets.listing() if bucket == storage.cdn.name}
    assert all(re.fullmatch(rf"({'|'.join(stems)})-(lg|thumb)\.webp", key) for key in published)
    assert (len(published), len(buckets.listing()), events()) == (6, 9, 1)


def test_photos_are_converted_to_srgb(document: Document) -> None:
    photo = document.photo(PHOTOS[0])
    image = stored(document.run(UPLOAD)["images"][0])["lg"].convert("RGB").resize(plainly(photo).size)
    assert difference(image, plainly(photo)) < difference(image, plainly(photo, srgb=False))


def test_set_main_image_for_new_uploads(document: Document) -> None:
    assert [image["isMain"] for image in document.run(MAIN)["imagesMeta"]] == [False, True]


def test_rotate_images_on_upload(document: Document) -> None:
    first, second = document.run(ROTATE_NEW)["images"]
    shows(first, document.photo(PHOTOS[0]), 0)
    shows(second, document.photo(PHOTOS[1]), 1)


def test_delete_existing_images(document: Document, buckets: Buckets) -> None:
    there = document.furnish()
    data = document.run(DELETE, there)
    assert (data["images"], data["imagesMeta"]) == ([], [])
    assert buckets.listing() == set()
    assert events() == 2


def test_rotate_existing_images(document: Document) -> None:
    there = document.run(UPLOAD)["imagesMeta"]
    after = document.run(ROTATE, there)["imagesMeta"]
    for image, name, quarter_turns in zip(after, PHOTOS, (1, 2, 0), strict=True):
        shows(image["url"], document.photo(name), quarter_turns)
    assert [image["id"] for image in after] == [image["id"] for image in there]
    assert after[2] == there[2]


def test_reorder_images_and_set_main(document: Document) -> None:
    first, second, third = document.furnish()
    done(document.manager.put(imagesMeta=meta(third, second, first)))
    data = document.run(REORDER, [first, second, third])
    assert data["imagesMeta"] == [
        first | {"orderIndex": 0, "isMain": True},
        second | {"orderIndex": 1, "isMain": False},
        third | {"orderIndex": 2, "isMain": False},
    ]


def meta(*images: Any) -> str:
    """Return imagesMeta in this order, with the first image as the main one."""
    entries = [
        f'{{"id":{image["id"]},"url":"{image["url"]}","orderIndex":{n},"isMain":{str(n == 0).lower()}}}'
        for n, image in enumerate(images)
    ]
    return f"[{','.join(entries)}]"


def test_combined_operations(document: Document, buckets: Buckets) -> None:
    there = document.furnish()
    before = events()
    data = document.run(COMBINED, there)
    rotated, kept, first, second = data["imagesMeta"]
    assert (rotated["id"], rotated["isMain"]) == (there[1]["id"], True)
    assert rotated["url"] != there[1]["url"]
    assert kept == there[2] | {"orderIndex": 1}
    shows(first["url"], document.photo(PHOTOS[0]), 0)
    shows(second["url"], document.photo(PHOTOS[1]), 1)
    assert stored(rotated["url"])["lg"].size == (480, 640)
    assert len(buckets.listing()) == 4 * 3, "an original and two variants of each, and nothing of the deleted image"
    assert events() == before + 1


def test_the_generated_command_as_printed_is_a_400(document: Document, buckets: Buckets) -> None:
    """It has a rotation of 123 and metadata without an image; the message names one (README, "JSON and forms")."""
    there = document.furnish()
    filled = {
        "https://api.example.com/api/properties/:id": document.manager.url,
        "<authorization>": document.manager.headers["Authorization"],
    }
    response = curl(GENERATED, document.folder, filled)
    assert response.status_code == 400
    assert list(response.json()) == ["success", "message", "data"]
    assert "newImageRotations.0" in response.json()["message"]
    assert document.manager.get()["imagesMeta"] == there


def test_the_generated_command_with_valid_values(document: Document) -> None:
    first, second, third = document.furnish()
    entry = f'{{"id": {third["id"]}, "url": "{third["url"]}", "orderIndex": 0, "isMain": true}}'
    command = GENERATED.replace('"mainNewImageIndex": 123', '"mainNewImageIndex": null').replace("{}\n  ]", f"{entry}]")
    command = command.replace('Rotations": [\n    123\n  ]', 'Rotations": []')
    filled = {
        "https://api.example.com/api/properties/:id": document.manager.url,
        "<authorization>": document.manager.headers["Authorization"],
        "    123": f"    {first['id']}",
        'Rotations": {}': f'Rotations": {{"{second["id"]}": 2}}',
    }
    data = done(curl(command, document.folder, filled))
    assert [image["id"] for image in data["imagesMeta"]] == [third["id"], second["id"]]
    assert data["imagesMeta"][1]["url"] != second["url"]


def test_upload_failed(document: Document, buckets: Buckets, caplog: pytest.LogCaptureFixture) -> None:
    """The documented body, nothing changed, and a warning with the error id in the log instead of a crash."""
    there = document.furnish()
    before, told = buckets.listing(), events()
    caplog.clear()
    response = document.manager.put(factories.jpeg(), b"no picture at all", imagesToDelete=f"[{there[0]['id']}]")
    failed(response)
    said = [record for record in caplog.records if response.headers["X-Error-Id"] in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert document.manager.get()["imagesMeta"] == there
    assert (buckets.listing(), events()) == (before, told)


def test_invalid_image_id(document: Document, buckets: Buckets) -> None:
    there = document.furnish()
    before, told = buckets.listing(), events()
    for fields in (
        {"existingImageRotations": '{"987654321":1}'},
        {"existingImageRotations": '{"987654321":0}'},
        {"imagesMeta": '[{"id":987654321,"url":"https://...","orderIndex":0,"isMain":true}]'},
    ):
        failed(document.manager.put(factories.jpeg(), imagesToDelete=f"[{there[0]['id']}]", **fields))
        assert document.manager.get()["imagesMeta"] == there, fields
        assert (buckets.listing(), events()) == (before, told), fields
