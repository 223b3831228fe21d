"""PUT /api/properties/:id: fields and JSON bodies that cannot be used (Manage Property Images, "Image Operations")."""

from __future__ import annotations

from typing import Any

import pytest

from portal.images.models import Property
from tests.api.manage_images import FIELDS, PHOTO, put, put_raw, refused
from tests.factories import Person

NOT_JSON = ["", "[", "{", "nonsense", "[1,]", "{'a':1}", "[" * 10_000, '{"a":' * 10_000, "1" * 5_000, "\0", "é"]


def test_a_field_that_is_not_json_is_named(
    alice: Person, home: Property, there: Any, subtests: pytest.Subtests
) -> None:
    for field in FIELDS:
        with subtests.test(field=field):
            for text in NOT_JSON:
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
