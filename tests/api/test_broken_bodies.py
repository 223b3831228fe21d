"""A truncated body is never taken for a complete one, whichever layer notices."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import IO, Any

import pytest
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader
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
    """Send as gunicorn hands a request over: the stream ends where the body does, or where the client disconnected."""
    method, path, type, _ = BODIES[body]
    environ: dict[str, Any] = {"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_TYPE": type}
    environ |= {"CONTENT_LENGTH": str(length)} if length is not None else {"HTTP_TRANSFER_ENCODING": "chunked"}
    return person.api(method, path.format(home.id), environ_overrides=environ)


def in_chunks(*sent: bytes) -> IO[bytes]:
    """Return the stream that gunicorn makes of a chunked body as far as it arrived."""
    request = SimpleNamespace(limit_request_field_size=0, max_buffer_headers=0)
    return Body(ChunkedReader(request, IterUnreader(sent)))  # type: ignore[no-any-return]


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def assert_nothing_happened(response: TestResponse, home: Property, buckets: Buckets) -> None:
    assert (response.status_code, response.content_type) == (400, "application/json"), response.text
    db.session.rollback()
    assert (home.name, gallery.images(home)) == ("Alder Cottage", [])
    assert buckets.listing() == set()


@each_body
def test_a_complete_body_is_accepted(alice: Person, home: Property, body: str) -> None:
    data = BODIES[body][3]
    for stream, length in ((BytesIO(data), len(data)), (in_chunks(chunk(data), b"0\r\n\r\n"), None)):
        assert send(alice, home, body, stream, length).status_code == 200
    db.session.rollback()
    assert home.name == "Birch Barn"


@each_body
def test_a_body_shorter_than_its_content_length_is_refused(
    alice: Person, home: Property, buckets: Buckets, body: str
) -> None:
    """Even if what arrived is valid on its own."""
    data = BODIES[body][3]
    assert_nothing_happened(send(alice, home, body, BytesIO(data), len(data) + 1), home, buckets)


@each_body
def test_truncated_chunks_are_refused(
    alice: Person, home: Property, buckets: Buckets, body: str, subtests: pytest.Subtests
) -> None:
    for rest in (b"", b"400\r\nthe beginning", b"0\r\n", b"no number\r\n"):
        with subtests.test(rest=rest):
            data = BODIES[body][3]
            assert_nothing_happened(send(alice, home, body, in_chunks(chunk(data), rest), None), home, buckets)
