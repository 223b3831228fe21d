"""Property Images API, "Upload Flow": its three curl commands, against the running server."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests

from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.infra import storage
from tests.factories import Person

# Verbatim from the contract except for line breaks; host, key, property, URL and r2Key are filled in below.
PRESIGN = (
    "curl -X POST https://rentalot.ai/api/v1/properties/$PROP/images/presign "
    '-H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" '
    """-d '{"fileName":"living-room.jpg","contentType":"image/jpeg","sizeBytes":2048576}'"""
)
UPLOAD = 'curl -X PUT "$UPLOAD_URL" -H "Content-Type: image/jpeg" --data-binary @living-room.jpg'
CONFIRM = (
    "curl -X POST https://rentalot.ai/api/v1/properties/$PROP/images/confirm "
    '-H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" '
    """-d '{"r2Key":"images/...","contentType":"image/jpeg","sizeBytes":2048576,"altText":"Living room"}'"""
)
SIZE_BYTES = 2_048_576


def curl(command: str, folder: Path, **filled: str) -> requests.Response:
    """Run a curl command, as far as the contract uses its options."""
    for name, value in filled.items():
        command = command.replace(name, value)
    words = iter(shlex.split(command)[1:])
    method, url, headers, data = "GET", "", {}, b""
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                data = next(words).encode()
            case "--data-binary":
                data = (folder / next(words).removeprefix("@")).read_bytes()
            case _:
                url = word
    return requests.request(method, url, headers=headers, data=data, timeout=30)


def padded(jpeg: bytes, size_bytes: int) -> bytes:
    """Return the same picture in a file of exactly this size, padded with comments after its first marker."""
    comments = bytearray()
    while missing := size_bytes - len(jpeg) - len(comments):
        length = min(missing, 60_000) if missing - 60_000 not in range(1, 4) else 50_000
        comments += b"\xff\xfe" + (length - 2).to_bytes(2, "big") + b" " * (length - 4)
    return jpeg[:2] + comments + jpeg[2:]


def test_presign_upload_and_confirm_as_documented(
    live: str,
    alice: Person,
    home: Property,
    photo: Callable[[str], bytes],
    work_off: Callable[[], int],
    tmp_path: Path,
) -> None:
    (tmp_path / "living-room.jpg").write_bytes(padded(photo("j13_s90_10mp.jpg"), SIZE_BYTES))
    filled = {"https://rentalot.ai": live, "$PROP": str(home.uuid), "$API_KEY": alice.key}

    presigned = curl(PRESIGN, tmp_path, **filled)
    assert presigned.status_code == 200
    ticket = presigned.json()["data"]
    assert presigned.json() == {"data": {"uploadUrl": ticket["uploadUrl"], "r2Key": ticket["r2Key"], "maxImages": 20}}
    assert ticket["r2Key"].startswith(f"images/{alice.workspace.uuid}/{home.uuid}/")

    assert curl(UPLOAD, tmp_path, **{"$UPLOAD_URL": ticket["uploadUrl"]}).status_code == 200
    assert listed(live, alice, home) == []

    confirmed = curl(CONFIRM, tmp_path, **filled, **{"images/...": ticket["r2Key"]})
    assert confirmed.status_code == 201
    image = confirmed.json()["data"]
    url = f"{live}/{ticket['r2Key']}"
    assert confirmed.json() == {
        "data": {"id": str(UUID(image["id"])), "url": url, "altText": "Living room", "order": 0}
    }
    assert confirmed.headers["Location"] == f"/api/v1/properties/{home.uuid}/images/{image['id']}"
    assert listed(live, alice, home) == [image]
    seen_by_the_world(url, home, work_off)


def seen_by_the_world(url: str, home: Property, work_off: Callable[[], int]) -> None:
    """Check that the image is served immediately, without metadata, and has both variants after the worker ran."""
    shown = requests.get(url, timeout=30)
    assert shown.status_code == 200
    assert b"Exif" not in shown.content
    work_off()
    db.session.rollback()
    (image,) = gallery.images(home)
    assert image.variants == "ready"
    assert storage.cdn.head(image.large_key or "")
    assert storage.cdn.head(image.thumb_key or "")


def listed(live: str, person: Person, home: Property) -> Any:
    headers = {"Authorization": f"Bearer {person.key}"}
    response = requests.get(f"{live}/api/v1/properties/{home.uuid}/images", headers=headers, timeout=30)
    assert response.status_code == 200
    return response.json()["data"]


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("p1_real_3mp.png", "image/png"),
        ("w1_real_1mp_lossless.webp", "image/webp"),
        ("h2_iphone_12mp_gps.heic", "image/heic"),
    ],
)
def test_the_other_three_types(
    live: str, alice: Person, home: Property, photo: Callable[[str], bytes], name: str, type: str
) -> None:
    """A HEIC is kept as it is and served in a format that browsers know (README, "HEIC")."""
    data = photo(name)
    at, headers = f"{live}/api/v1/properties/{home.id}/images", {"Authorization": f"Bearer {alice.key}"}
    said = {"fileName": name, "contentType": type, "sizeBytes": len(data)}
    ticket = requests.post(f"{at}/presign", json=said, headers=headers, timeout=30).json()["data"]
    put = requests.put(ticket["uploadUrl"], data=data, headers={"Content-Type": type}, timeout=30)
    assert put.status_code == 200
    said = {"r2Key": ticket["r2Key"], "contentType": type, "sizeBytes": len(data)}
    confirmed = requests.post(f"{at}/confirm", json=said, headers=headers, timeout=30)
    assert confirmed.status_code == 201
    shown = requests.get(confirmed.json()["data"]["url"], timeout=60)
    assert shown.status_code == 200
    assert shown.headers["Content-Type"] in ("image/webp", "image/jpeg")
