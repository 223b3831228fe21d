"""Helpers for the tests of the Manage Property Images contract: requests, and the shape of a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from werkzeug.test import TestResponse

from portal.images.models import Property
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person

PHOTO = factories.jpeg(64, 48)
FIELDS = ["mainNewImageIndex", "newImageRotations", "imagesToDelete", "existingImageRotations", "imagesMeta"]


@pytest.fixture
def there(alice: Person, home: Property, buckets: Buckets) -> Iterator[Any]:
    """Two photos in the gallery; at the end of the test both are checked to be unchanged."""
    made = put(alice, home, images=[PHOTO, PHOTO])
    assert made.status_code == 200
    before, objects = made.json["data"], buckets.listing()
    yield before["imagesMeta"]
    assert alice.api("GET", f"/api/properties/{home.id}").json["data"] == before
    assert buckets.listing() == objects


def put(person: Person, home: Property, *, images: list[bytes] | None = None, **fields: Any) -> TestResponse:
    files = [(BytesIO(data), f"{n}.jpg") for n, data in enumerate(images or (), 1)]
    data = fields | {"images": files}
    return person.api("PUT", f"/api/properties/{home.id}", data=data, content_type="multipart/form-data")


def put_raw(person: Person, home: Property, body: bytes, type: str | None, **kwargs: Any) -> TestResponse:
    path, stream = f"/api/properties/{home.id}", BytesIO(body)
    return person.api("PUT", path, input_stream=stream, content_length=len(body), content_type=type, **kwargs)


def form(boundary: str, *photos: bytes, **fields: str) -> tuple[bytes, str]:
    """Return a multipart body and its content type."""
    parts = [f'name="{name}"\r\n\r\n{text}'.encode() for name, text in fields.items()]
    parts += [b'name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + photo for photo in photos]
    joined = b"".join(b"--%b\r\nContent-Disposition: form-data; %b\r\n" % (boundary.encode(), part) for part in parts)
    return joined + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Unread(BytesIO):
    """A body that fails the test when it is read."""

    @classmethod
    def body(cls, size_bytes: int) -> dict[str, Any]:
        type = "multipart/form-data; boundary=x"
        return {"wsgi.input": cls(), "CONTENT_LENGTH": str(size_bytes), "CONTENT_TYPE": type}

    def read(self, *_: Any) -> bytes:
        raise AssertionError("read")

    readinto = read  # type: ignore[assignment]


def refused(response: TestResponse, status: int) -> str:
    """Check for a refusal in the envelope of the Manage Property Images contract; return its message."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert list(response.json) == ["success", "message", "data"]
    assert (response.json["success"], response.json["data"]) == (False, None)
    message: str = response.json["message"]
    assert message.strip().endswith(".")
    return message
