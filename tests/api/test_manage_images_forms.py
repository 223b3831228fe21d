"""PUT /api/properties/:id: malformed, truncated and oversized forms, and what is left of their files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portal import config
from portal.db import db
from portal.images.models import Image, Property
from portal.infra import multipart
from tests.api.manage_images import PHOTO, Unread, form, put, put_raw, refused
from tests.factories import Person

MEGABYTE = 1024 * 1024
PART = b'Content-Disposition: form-data; name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
TEXT = b'Content-Disposition: form-data; name="name"\r\n\r\nElm'


BROKEN_FORMS = [
    ("multipart/form-data", b"--x\r\n" + TEXT + b"\r\n--x--\r\n"),
    ("multipart/form-data; boundary=", b"--x\r\n" + TEXT + b"\r\n--x--\r\n"),
    ("multipart/form-data; boundary=y", b"--x\r\n" + TEXT + b"\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b""),
    ("multipart/form-data; boundary=x", b"--x"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + TEXT),
    ("multipart/form-data; boundary=x", b"--x\r\n" + TEXT + b"\r\n--x"),
    ("multipart/form-data; boundary=x", b"--x\r\n" + PART + PHOTO),
    ("multipart/form-data; boundary=x", b"--x\r\n" + PART + PHOTO[:100]),
    ("multipart/form-data; boundary=x", b"--x\r\nno header at all\r\n\r\nElm\r\n--x--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nElm\r\n--x--\r\n"),
]


def test_a_truncated_or_malformed_form_is_a_400(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    for type, body in BROKEN_FORMS:
        with subtests.test(type=type):
            refused(put_raw(alice, home, body, type), 400)


def test_an_empty_form_changes_nothing(alice: Person, home: Property, there: Any) -> None:
    response = put_raw(alice, home, b"--x--\r\n", "multipart/form-data; boundary=x")
    assert (response.status_code, response.json["data"]["imagesMeta"]) == (200, there)


def test_unknown_fields_and_files_of_other_names_are_ignored(alice: Person, home: Property, there: Any) -> None:
    data = {"nothing": "x", "imagesmeta": "[", "photo": (BytesIO(b"text"), "a.txt")}
    response = alice.api("PUT", f"/api/properties/{home.id}", data=data, content_type="multipart/form-data")
    assert (response.status_code, response.json["data"]["imagesMeta"]) == (200, there)


def test_twenty_files_and_an_empty_file_input_are_accepted(alice: Person, home: Property) -> None:
    files = [(BytesIO(PHOTO), f"{n}.jpg") for n in range(20)] + [(BytesIO(), "")]
    response = alice.api("PUT", f"/api/properties/{home.id}", data={"images": files})
    assert (response.status_code, len(response.json["data"]["images"])) == (200, 20)


def test_more_than_twenty_files_are_refused(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    for count in (21, 99):
        with subtests.test(count=count):
            assert "20" in refused(put(alice, home, images=[PHOTO] * count), 400)


def test_a_form_with_too_many_parts_is_a_413(alice: Person, home: Property, there: Any) -> None:
    refused(put(alice, home, **{f"field{n}": "x" for n in range(250)}), 413)


@pytest.fixture
def one_megabyte(app: Flask) -> Iterator[int]:
    """Set MAX_FILE_MB to 1; return it in bytes."""
    config.use(replace(config.settings(), max_file_mb=1))
    return MEGABYTE


def padded(size_bytes: int) -> bytes:
    """Return a photo in a file of exactly this size, padded with trailing zeros as some cameras do."""
    return PHOTO + b"\0" * (size_bytes - len(PHOTO))


def test_a_file_over_max_file_mb_is_a_413(alice: Person, home: Property, there: Any, one_megabyte: int) -> None:
    refused(put_raw(alice, home, *form("x", PHOTO, padded(one_megabyte + 1))), 413)


def test_a_file_of_exactly_max_file_mb_is_accepted(alice: Person, home: Property, one_megabyte: int) -> None:
    assert put_raw(alice, home, *form("x", padded(one_megabyte))).status_code == 200


def test_an_oversized_body_is_a_413_before_it_is_read(
    alice: Person, home: Property, there: Any, one_megabyte: int
) -> None:
    too_much = 20 * one_megabyte + multipart.MAX_FIELD_BYTES + multipart.ROOM_FOR_HEADERS + 1
    response = alice.api("PUT", f"/api/properties/{home.id}", environ_overrides=Unread.body(too_much))
    refused(response, 413)


def test_oversized_text_fields_are_a_413(alice: Person, home: Property, there: Any) -> None:
    long = "x" * (multipart.MAX_FIELD_BYTES + 1)
    refused(put(alice, home, name=long), 413)
    refused(put_raw(alice, home, json.dumps({"name": long}).encode(), "application/json"), 413)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux says which files are open")
def test_no_temporary_file_is_left_behind(alice: Person, home: Property, one_megabyte: int) -> None:
    before = spooled()  # pytest's
    for body, status in (
        (form("x", PHOTO, padded(one_megabyte)), 200),
        (form("x", PHOTO, name=""), 400),
        (form("x", PHOTO, b"no photo"), 500),
        (form("x", PHOTO, padded(one_megabyte + 1)), 413),
        (form("x", *[PHOTO] * 21), 400),
        ((form("x", PHOTO)[0][:-40], "multipart/form-data; boundary=x"), 400),
    ):
        assert put_raw(alice, home, *body).status_code == status
        assert spooled() == before


def spooled() -> set[str]:
    """Return the open temporary files that have no name."""
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {link for link in links if link.startswith(tempfile.gettempdir()) and link.endswith("(deleted)")}


def test_a_file_name_is_stored_as_text_and_never_used_as_a_path(
    alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    for name in ("../../etc/passwd", "C:\\photos\\a.jpg", "a\0b.jpg", "x" * 400, "é‮.jpg", "'\";"):
        with subtests.test(name=name):
            data = {"images": [(BytesIO(PHOTO), name)]}
            response = alice.api("PUT", f"/api/properties/{home.id}", data=data)
            assert response.status_code == 200
            image = db.session.query(Image).order_by(Image.id.desc())[0]
            assert "/" not in image.file_name
            assert "\\" not in image.file_name
            assert 1 <= len(image.file_name) <= 255
            assert image.original_key.endswith(".jpg")
