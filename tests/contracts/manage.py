"""Seed C's client: what its curl commands send, and what came of it in the buckets."""

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
PIXELS_ONLY = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}  # the chunks of a WebP that are the picture itself


class Manager:
    """Manages the images of one property over a socket."""

    def __init__(self, host: str, person: Person, home: Property) -> None:
        self.host, self.person, self.home = host, person, home
        self.url = f"{host}/api/properties/{home.id}"
        self.headers = {"Authorization": f"Bearer {person.key}"}

    def put(self, *photos: bytes, headers: dict[str, str] | None = None, **fields: str) -> requests.Response:
        """Send a multipart form, whether it has files or not."""
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
        """Upload photos; return the imagesMeta of all that are there now."""
        return list(done(self.put(*photos))["imagesMeta"])

    def seen_in_b(self) -> list[Any]:
        """The same gallery in seed B's words."""
        url = f"{self.host}/api/v1/properties/{self.home.uuid}/images"
        response = requests.get(url, headers=self.headers, timeout=60)
        assert response.status_code == 200
        return list(response.json()["data"])

    def rows(self) -> list[Image]:
        db.session.rollback()
        return gallery.images(self.home)


def curl(command: str, folder: Path, filled: dict[str, str]) -> requests.Response:
    """Do what curl does with the options that the document uses; `filled` stands for its examples."""
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
    """The property of a successful answer, whose form is the document's to the letter."""
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
    """The document's "Upload Failed" and "Invalid Image ID": one body for both."""
    assert response.status_code == 500, response.text
    assert response.json() == FAILED
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Error-Id"], "planned: a crash has none"


def stored(url: str) -> dict[str, Pillow.Image]:
    """Both variants behind an image's URL, as the world gets them: WebP, within their size, pixels and no more."""
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
    """The photo as Pillow's own tools show it: upright, in sRGB, then turned clockwise; at most 256 px."""
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
def smaller(data: bytes, longest_px: int = 1000) -> bytes:
    """The same photo with fewer pixels: its type, its orientation and its colours stay."""
    image = Pillow.open(BytesIO(data))
    kept = {name: image.info[name] for name in ("exif", "icc_profile") if name in image.info}
    type = image.format
    image.thumbnail((longest_px, longest_px))
    file = BytesIO()
    image.save(file, type, **kept)
    return file.getvalue()


def events() -> int:
    """How many webhooks were put on their way."""
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(Delivery)) or 0


Photo = Callable[[str], bytes]
