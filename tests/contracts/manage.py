"""A client of the Manage Property Images contract: its curl commands, and checks of what they left in the buckets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps
from sqlalchemy import func, select

from portal.db import db
from portal.images import gallery
from portal.images.models import Image, Property
from portal.infra import storage
from portal.webhooks.models import Delivery
from tests.factories import Person

FAILED = {"success": False, "message": "Failed to update property"}
LONGEST_PX = {"lg": 2048, "thumb": 480}
PIXELS_ONLY = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}  # the WebP chunks that hold the picture itself


class Manager:
    """Manages the images of one property over HTTP."""

    def __init__(self, host: str, person: Person, home: Property) -> None:
        self.host, self.person, self.home = host, person, home
        self.url = f"{host}/api/properties/{home.id}"
        self.headers = {"Authorization": f"Bearer {person.key}"}

    def put(self, *photos: bytes, headers: dict[str, str] | None = None, **fields: str) -> requests.Response:
        """Send a multipart form, with or without files."""
        parts: list[tuple[str, Any]] = [("images", (f"photo{n}.jpg", data)) for n, data in enumerate(photos, 1)]
        parts += [(name, (None, text)) for name, text in fields.items()]
        headers = self.headers | (headers or {})
        return requests.put(self.url, files=parts, headers=headers, timeout=300)

    def put_json(self, body: Any) -> requests.Response:
        return requests.put(self.url, json=body, headers=self.headers, timeout=300)

    def get(self) -> Any:
        response = requests.get(self.url, headers=self.headers, timeout=60)
        assert response.status_code == 200
        return response.json()["data"]

    def add(self, *photos: bytes) -> list[Any]:
        """Upload photos; return the imagesMeta of all images."""
        return list(done(self.put(*photos))["imagesMeta"])

    def listed_by_the_other_api(self) -> list[Any]:
        """Return the same gallery as the Property Images API lists it."""
        url = f"{self.host}/api/v1/properties/{self.home.uuid}/images"
        response = requests.get(url, headers=self.headers, timeout=60)
        assert response.status_code == 200
        return list(response.json()["data"])

    def rows(self) -> list[Image]:
        db.session.rollback()
        return gallery.images(self.home)


def curl(command: str, folder: Path, filled: dict[str, str]) -> requests.Response:
    """Run a curl command, as far as the contract uses its options, with its examples replaced as in `filled`."""
    named = "|".join(map(re.escape, sorted(filled, key=len, reverse=True)))
    command = re.sub(named, lambda found: filled[found[0]], command).replace("\\\n", " ")
    words = iter(shlex.split(command, comments=True)[1:])
    method, url, headers, data = "GET", "", {}, None
    parts: list[tuple[str, Any]] = []
    for word in words:
        match word:
            case "-X" | "--request":
                method = next(words)
            case "-H" | "--header":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "--data":
                data = next(words).encode()
            case "-F":
                name, _, value = next(words).partition("=")
                is_file = value.startswith("@")
                content = (folder / value[1:]).read_bytes() if is_file else value
                parts.append((name, (value[1:] if is_file else None, content)))
            case "--url":
                url = next(words)
            case _:
                url = word
    return requests.request(method, url, headers=headers, data=data, files=parts or None, timeout=300)


def done(response: requests.Response) -> Any:
    """Check the shape of a successful response ("Response") and return its property."""
    assert response.status_code == 200, response.text
    said = response.json()
    assert list(said) == ["success", "message", "data"]
    assert (said["success"], said["message"]) == (True, "Property updated successfully")
    data = said["data"]
    assert isinstance(data["id"], str)
    assert data["images"] == [image["url"] for image in data["imagesMeta"]]
    assert [image["orderIndex"] for image in data["imagesMeta"]] == list(range(len(data["images"])))
    assert [image["isMain"] for image in data["imagesMeta"]].count(True) == min(1, len(data["images"]))
    for image in data["imagesMeta"]:
        assert list(image) == ["id", "url", "orderIndex", "isMain"]
        assert [type(value) for value in image.values()] == [int, str, int, bool]
    return data


def failed(response: requests.Response) -> None:
    """Check for the body that "Upload Failed" and "Invalid Image ID" share."""
    assert response.status_code == 500, response.text
    assert response.json() == FAILED
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Error-Id"], "a crash has none"


def stored(url: str) -> dict[str, Pillow.Image]:
    """Return both variants behind an image's URL, checked: WebP, within their size, without metadata, served."""
    large = urlsplit(url).path.removeprefix("/cdn/")
    stem = re.fullmatch(r"(properties/\d+/[0-9a-f-]{36})-lg\.webp", large)
    assert stem, large
    opened = {}
    for name, longest_px in LONGEST_PX.items():
        data = storage.cdn.get(f"{stem[1]}-{name}.webp")
        assert data
        assert webp_chunks(data) <= PIXELS_ONLY
        opened[name] = Pillow.open(BytesIO(data))
        assert opened[name].format == "WEBP"
        assert max(opened[name].size) <= longest_px
    shown = requests.get(url, timeout=60)
    assert (shown.status_code, shown.headers["Content-Type"]) == (200, "image/webp")
    assert shown.content == storage.cdn.get(large)
    return opened


def webp_chunks(data: bytes) -> set[bytes]:
    found, at = set(), 12
    while at < len(data):
        found.add(data[at : at + 4])
        at += 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2
    return found


def plainly(data: bytes, quarter_turns: int = 0, *, srgb: bool = True) -> Pillow.Image:
    """Render a photo with Pillow's own tools: upright, in sRGB, rotated clockwise, at most 256 px."""
    image = Pillow.open(BytesIO(data))
    profile = image.info.get("icc_profile")
    image.thumbnail((256, 256))
    image = ImageOps.exif_transpose(image)
    if profile and srgb:
        held = ImageCms.ImageCmsProfile(BytesIO(profile))
        turned = ImageCms.profileToProfile(image, held, ImageCms.createProfile("sRGB"), outputMode="RGB")
        image = turned or image
    return image.convert("RGB").rotate(-90 * quarter_turns, expand=True)


@cache
def smaller(data: bytes, longest_px: int = 640) -> bytes:
    """Return the photo with fewer pixels but the same type, orientation and colour profile."""
    image = Pillow.open(BytesIO(data))
    kept = {name: image.info[name] for name in ("exif", "icc_profile") if name in image.info}
    type = image.format
    image.thumbnail((longest_px, longest_px))
    file = BytesIO()
    image.save(file, type, **kept)
    return file.getvalue()


def events() -> int:
    """Return how many webhook deliveries were created."""
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(Delivery)) or 0


Photo = Callable[[str], bytes]
