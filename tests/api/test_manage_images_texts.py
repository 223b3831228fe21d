"""PUT /api/properties/:id: the texts of its form are UTF-8, and come as texts."""

from __future__ import annotations

from io import BytesIO

import pytest

from portal.images import gallery
from portal.images.models import Property
from tests.api.test_manage_images_bodies import FIELDS, PHOTO, put_raw, refused
from tests.factories import Person

NAME = "Ünder den Linden"
TYPES = ["", "Content-Type: text/plain; charset=utf-8\r\n", "Content-Type: text/plain; charset=iso-8859-1\r\n"]


def form(name: bytes, type: str) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="name"\r\n' + type.encode() + b"\r\n" + name + b"\r\n--x--\r\n"


def test_utf_8_is_what_it_is_whatever_it_calls_itself(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for type in TYPES:
        with subtests.test(type=type):
            for name in (NAME, "which one\ufffd"):
                response = put_raw(alice, home, form(name.encode(), type), "multipart/form-data; boundary=x")
                assert (response.status_code, response.json["data"]["name"]) == (200, name)


def test_what_is_no_utf_8_is_refused_and_not_replaced(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for type in TYPES:
        with subtests.test(type=type):
            response = put_raw(alice, home, form(NAME.encode("iso-8859-1"), type), "multipart/form-data; boundary=x")
            assert refused(response, 400) == "The form's fields must be UTF-8."
            assert alice.api("GET", f"/api/properties/{home.id}").json["data"]["name"] == "Alder Cottage"


def test_a_text_that_comes_as_a_file_is_refused_and_not_ignored(
    alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    for field in (*FIELDS, "name", "bedrooms"):
        with subtests.test(field=field):
            data = {"images": (BytesIO(PHOTO), "a.jpg"), field: (BytesIO(b"[1]"), "b.json")}
            response = alice.api("PUT", f"/api/properties/{home.id}", data=data)
            assert refused(response, 400).startswith(field)
            assert gallery.images(home) == []
