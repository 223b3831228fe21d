"""PUT /api/properties/:id: bodies that can't be used, and what is answered (reliability.md, K11 to K13; seed C)."""

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
from werkzeug.test import TestResponse

from portal import config
from portal.db import db
from portal.images.models import Image, Property
from portal.infra import multipart
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person

PHOTO = factories.jpeg(64, 48)
MEGABYTE = 1024 * 1024


@pytest.fixture
def there(alice: Person, home: Property, buckets: Buckets) -> Iterator[Any]:
    """Two photos in the gallery; what they are and where they lie is the same at the end."""
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
    """A multipart body and its type."""
    parts = [f'name="{name}"\r\n\r\n{text}'.encode() for name, text in fields.items()]
    parts += [b'name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + photo for photo in photos]
    joined = b"".join(b"--%b\r\nContent-Disposition: form-data; %b\r\n" % (boundary.encode(), part) for part in parts)
    return joined + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Unread(BytesIO):
    """A body that nobody may read."""

    @classmethod
    def body(cls, size_bytes: int) -> dict[str, Any]:
        type = "multipart/form-data; boundary=x"
        return {"wsgi.input": cls(), "CONTENT_LENGTH": str(size_bytes), "CONTENT_TYPE": type}

    def read(self, *_: Any) -> bytes:
        raise AssertionError("read")

    readinto = read  # type: ignore[assignment]


def refused(response: TestResponse, status: int) -> str:
    """The sentence of a refusal in seed C's envelope."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert list(response.json) == ["success", "message", "data"]
    assert (response.json["success"], response.json["data"]) == (False, None)
    message: str = response.json["message"]
    assert message.strip().endswith(".")
    return message


NO_JSON = ["", "[", "{", "nonsense", "[1,]", "{'a':1}", "[" * 10_000, '{"a":' * 10_000, "1" * 5_000, "\0", "é"]
FIELDS = ["mainNewImageIndex", "newImageRotations", "imagesToDelete", "existingImageRotations", "imagesMeta"]


def test_a_field_that_is_not_json_is_named(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    for field in FIELDS:
        with subtests.test(field=field):
            for text in NO_JSON:
                assert refused(put(alice, home, images=[PHOTO], **{field: text}), 400).startswith(field)


WRONG = {
    "mainNewImageIndex": ["-1", "1", "1.0", "1.5", "true", '"0"', "NaN", "1e999", "Infinity", str(2**63), "[0]", "{}"],
    "newImageRotations": [
        *("[4]", "[-1]", '["1"]', "[1.5]", "[1.0]", "[true]", "[null]", "[NaN]", "[1e999]", f"[{2**63}]", "[[0]]"),
        *("[0,0]", "1", "{}", "null", '"[0]"', '{"0":1}'),
    ],
    "imagesToDelete": ['["1"]', "[1.5]", "[true]", "[null]", "[NaN]", "[1e999]", "[[1]]", "1", "{}", "null", '"1"'],
    "existingImageRotations": [
        *(
            f'{{"ID":{quarters}}}'
            for quarters in ("4", "-1", '"1"', "1.5", "true", "null", "NaN", "1e999", "[1]", 2**63)
        ),
        *(
            '{"0ID":1}',
            '{"00":1}',
            '{"x":1}',
            '{"":1}',
            '{"-1":1}',
            '{"1.0":1}',
            '{" 1":1}',
            '{"1\\n":1}',
            '{"٣":1}',
            f'{{"{"9" * 20}":1}}',
        ),
        *("[]", "1", "null", '[["1",1]]'),
    ],
    "imagesMeta": [
        *("[{}]", "[1]", "[null]", "{}", "1", '"x"', "[[]]"),
        *('[{"id":ID,"url":"URL","orderIndex":0}]', '[{"id":ID,"url":"URL","isMain":true}]'),
        *('[{"id":ID,"orderIndex":0,"isMain":true}]', '[{"url":"URL","orderIndex":0,"isMain":true}]'),
        *(
            f'[{{"id":ID,"url":"URL","orderIndex":{index},"isMain":true}}]'
            for index in ("-1", '"0"', "0.5", "true", "null", "NaN", "1e999")
        ),
        *(f'[{{"id":ID,"url":"URL","orderIndex":0,"isMain":{flag}}}]' for flag in ("1", '"true"', "null")),
        *(f'[{{"id":{id},"url":"URL","orderIndex":0,"isMain":true}}]' for id in ('"ID"', "1.5", "true", "null")),
        *(f'[{{"id":ID,"url":{url},"orderIndex":0,"isMain":true}}]' for url in ("1", "null", '"\\u0000"', '"\\ud800"')),
        '[{"id":ID,"url":"URL","orderIndex":0,"isMain":true},{"id":ID,"url":"URL","orderIndex":1,"isMain":false}]',
    ],
}


def test_an_invalid_value_changes_nothing_in_either_encoding(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    first, second = there
    for field in FIELDS:
        with subtests.test(field=field):
            for text in WRONG[field]:
                text = text.replace("ID", str(first["id"])).replace("URL", first["url"])
                also = {"imagesToDelete": f"[{second['id']}]", "name": "Elm"} | {field: text}
                refused(put(alice, home, images=[PHOTO], **also), 400)
                refused(put_raw(alice, home, f'{{"name":"Elm","{field}":{text}}}'.encode(), "application/json"), 400)


FIELDS_OF_THE_PROPERTY = {
    "name": ["", " ", "x" * 201, "a\0b"],
    "address": ["x" * 301],
    "externalRef": ["x" * 121],
    "bedrooms": ["-1", "1.5", "true", "two", '"2"', str(2**63)],
    "bathrooms": ["NaN", "1e999", "-0.5"],
    "sleeps": ["501", "[]"],
}


def test_an_invalid_property_field_is_named(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    for field in FIELDS_OF_THE_PROPERTY:
        with subtests.test(field=field):
            for value in FIELDS_OF_THE_PROPERTY[field]:
                assert field in refused(put(alice, home, images=[PHOTO], **{field: value}), 400)


def test_a_body_that_is_not_a_json_object_is_a_400(alice: Person, home: Property, there: Any) -> None:
    for body in (b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 10_000, b"[]", b"null", b'"x"', b"1"):
        refused(put_raw(alice, home, body, "application/json"), 400)


def test_files_in_json_are_refused_with_a_hint(alice: Person, home: Property, there: Any) -> None:
    for images in ("5", "true", '"a.jpg"', '["a.jpg"]', "[{}]", '[null, ""]', '{"a": null}', "[[]]"):
        message = refused(put_raw(alice, home, f'{{"images":{images}}}'.encode(), "application/json"), 400)
        assert "multipart/form-data" in message


def test_json_may_carry_an_empty_images_field(alice: Person, home: Property, there: Any) -> None:
    for images in ("null", "[]", "[null]", "[null, null]", '""'):
        assert put_raw(alice, home, f'{{"images":{images}}}'.encode(), "application/json").status_code == 200


def test_another_content_type_is_a_415(alice: Person, home: Property, there: Any, subtests: pytest.Subtests) -> None:
    for type in (None, "", "text/plain", "application/x-www-form-urlencoded", "image/jpeg"):
        with subtests.test(type=type):
            refused(put_raw(alice, home, b"imagesToDelete=[1]", type), 415)


PART = b'Content-Disposition: form-data; name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
TEXT = b'Content-Disposition: form-data; name="name"\r\n\r\nElm'


NO_FORMS = [
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
    for type, body in NO_FORMS:
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
    """MAX_FILE_MB is 1."""
    config.use(replace(config.settings(), max_file_mb=1))
    return MEGABYTE


def padded(size_bytes: int) -> bytes:
    """A photo in a file of exactly this size: zeros behind its end, as some cameras leave them."""
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
    before = spooled()  # pytest's own
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
    """Open files that have no name and lie where temporary files do."""
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
