"""A truncated body is never taken for a complete one, whichever layer notices."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

import pytest
from werkzeug.test import TestResponse

from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person

JSON = b'{"name":"Birch Barn"}'
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nBirch Barn\r\n'
    b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    + factories.jpeg()
    + b"\r\n--x--\r\n"
)
BODIES = {
    "property images": ("PATCH", "/api/v1/properties/{}", "application/json", JSON),
    "manage images": ("PUT", "/api/properties/{}", "application/json", JSON),
    "manage images, form": ("PUT", "/api/properties/{}", "multipart/form-data; boundary=x", FORM),
}
each_body = pytest.mark.parametrize("body", BODIES)


def send(person: Person, home: Property, body: str, stream: IO[bytes], length: int | None) -> TestResponse:
    """Send as the front hands a request over: without a length if it came in chunks."""
    method, path, type, _ = BODIES[body]
    environ: dict[str, Any] = {"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_TYPE": type}
    environ |= {"CONTENT_LENGTH": str(length)} if length is not None else {"HTTP_TRANSFER_ENCODING": "chunked"}
    return person.api(method, path.format(home.id), environ_overrides=environ)


def assert_nothing_happened(response: TestResponse, home: Property, buckets: Buckets) -> None:
    assert (response.status_code, response.content_type) == (400, "application/json"), response.text
    db.session.rollback()
    assert (home.name, gallery.images(home)) == ("Alder Cottage", [])
    assert buckets.listing() == set()


@each_body
def test_a_complete_body_is_accepted(alice: Person, home: Property, body: str) -> None:
    data = BODIES[body][3]
    for length in (len(data), None):
        assert send(alice, home, body, BytesIO(data), length).status_code == 200
    db.session.rollback()
    assert home.name == "Birch Barn"


@each_body
def test_a_body_shorter_than_its_content_length_is_refused(
    alice: Person, home: Property, buckets: Buckets, body: str
) -> None:
    """Even if what arrived is valid on its own."""
    data = BODIES[body][3]
    assert_nothing_happened(send(alice, home, body, BytesIO(data), len(data) + 1), home, buckets)
