"""PUT /api/properties/:id: text fields of the form are UTF-8 and are not sent as files."""

from __future__ import annotations

from io import BytesIO

import pytest

from portal.images import gallery
from portal.images.models import Property
from tests.api.manage_images import FIELDS, PHOTO, put_raw, refused
from tests.factories import Person

NAME = "Ünder den Linden"
TYPES = ["", "Content-Type: text/plain; charset=utf-8\r\n", "Content-Type: text/plain; charset=iso-8859-1\r\n"]


def form(name: bytes, type: str) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="name"\r\n' + type.encode() + b"\r\n" + name + b"\r\n--x--\r\n"


def test_utf_8_is_accepted_whatever_its_declared_charset(
    alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    for type in TYPES:
        with subtests.test(type=type):
            for name in (NAME, "which one\ufffd"):
                response = put_raw(alice, home, form(name.encode(), type), "multipart/form-data; boundary=x")
                assert (response.status_code, response.json["data"]["name"]) == (200, name)


def test_invalid_utf_8_is_refused(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for type in TYPES:
        with subtests.test(type=type):
            response = put_raw(alice, home, form(NAME.encode("iso-8859-1"), type), "multipart/form-data; boundary=x")
            assert refused(response, 400) == "The form's fields must be UTF-8."
            assert alice.api("GET", f"/api/properties/{home.id}").json["data"]["name"] == "Alder Cottage"


def test_a_text_field_sent_as_a_file_is_refused(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for field in (*FIELDS, "name", "bedrooms"):
        with subtests.test(field=field):
            data = {"images": (BytesIO(PHOTO), "a.jpg"), field: (BytesIO(b"[1]"), "b.json")}
            response = alice.api("PUT", f"/api/properties/{home.id}", data=data)
            assert refused(response, 400).startswith(field)
            assert gallery.images(home) == []
