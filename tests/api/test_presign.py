"""POST …/images/presign: a key and a URL for one file (Property Images API, "Get Presigned Upload URL")."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portal import config
from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images.models import Property, Upload
from tests import factories
from tests.api.world import ABSENT
from tests.factories import Person

ROOM = {"fileName": "living-room.jpg", "contentType": "image/jpeg", "sizeBytes": 2048576}


def presign(person: Person, home: Property, body: Any = None, **kwargs: Any) -> Any:
    return person.api("POST", f"/api/v1/properties/{home.uuid}/images/presign", json=body or ROOM, **kwargs)


def test_presign_returns_a_url_a_key_and_the_plans_limit(alice: Person, home: Property) -> None:
    response = presign(alice, home)
    assert response.status_code == 200
    assert list(response.json) == ["data"]
    data = response.json["data"]
    assert set(data) == {"uploadUrl", "r2Key", "maxImages"}
    assert data["r2Key"].startswith(f"images/{alice.workspace.uuid}/{home.uuid}/")
    assert data["r2Key"].endswith(".jpg")
    assert data["maxImages"] == 20


def test_the_url_signs_type_and_length_for_an_hour(alice: Person, home: Property) -> None:
    query = parse_qs(urlsplit(presign(alice, home).json["data"]["uploadUrl"]).query)
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
    assert query["X-Amz-Expires"] == ["3600"]


def test_the_url_accepts_only_the_announced_file(alice: Person, home: Property) -> None:
    photo = factories.jpeg()
    url = presign(alice, home, {**ROOM, "sizeBytes": len(photo)}).json["data"]["uploadUrl"]
    assert factories.put(url, photo + b"x", "image/jpeg").status_code == 403
    assert factories.put(url, photo, "image/png").status_code == 403
    assert factories.put(url.replace(".jpg", ".png"), photo, "image/jpeg").status_code == 403
    assert factories.put(url, photo, "image/jpeg").status_code == 200


def test_the_property_may_be_named_by_its_number(alice: Person, home: Property) -> None:
    response = alice.api("POST", f"/api/v1/properties/{home.id}/images/presign", json=ROOM)
    assert response.json["data"]["r2Key"].startswith(f"images/{alice.workspace.uuid}/{home.uuid}/")


def test_unknown_fields_are_ignored(alice: Person, home: Property) -> None:
    assert presign(alice, home, {**ROOM, "colour": {"deep": [1]}}).status_code == 200


def test_snake_case_fields_are_unknown(alice: Person, home: Property) -> None:
    body = {"file_name": "a.jpg", "content_type": "image/jpeg", "size_bytes": 9}
    assert presign(alice, home, body).status_code == 422


def test_the_content_type_may_be_in_any_case(alice: Person, home: Property) -> None:
    assert presign(alice, home, {**ROOM, "contentType": "image/JPEG"}).status_code == 200


EXTENSIONS = [
    ("a.JPEG", "image/jpeg", "jpeg"),
    ("a.png", "image/jpeg", "jpg"),
    ("none", "image/webp", "webp"),
    ("../../x.jpg.html", "image/jpeg", "jpg"),
    ("a.heif", "image/heic", "heif"),
]


def test_the_extension_is_the_file_names_if_it_fits_the_type(
    alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    for name, type, extension in EXTENSIONS:
        with subtests.test(name=name, type=type, extension=extension):
            key = presign(alice, home, {"fileName": name, "contentType": type, "sizeBytes": 9}).json["data"]["r2Key"]
            assert key.rpartition("/")[0] == f"images/{alice.workspace.uuid}/{home.uuid}"
            assert key.rpartition(".")[2] == extension


UNUSABLE = [
    ("contentType", "image/gif", "content_type_not_allowed"),
    ("contentType", "image/svg+xml", "content_type_not_allowed"),
    ("contentType", "image/jpeg; charset=utf-8", "content_type_not_allowed"),
    ("contentType", "", "content_type_not_allowed"),
    ("contentType", None, "fields"),
    ("sizeBytes", 10 * 1024 * 1024 + 1, "too_large"),
    ("sizeBytes", 2**63, "too_large"),
    ("sizeBytes", 10**400, "too_large"),
    ("sizeBytes", 0, "empty"),
    ("sizeBytes", -1, "empty"),
    ("sizeBytes", "12", "fields"),
    ("sizeBytes", True, "fields"),
    ("sizeBytes", 1.5, "fields"),
    ("sizeBytes", float("nan"), "fields"),
    ("sizeBytes", float("inf"), "fields"),
    ("sizeBytes", [12], "fields"),
    ("fileName", "", "file_name"),
    ("fileName", "x" * 256, "file_name"),
    ("fileName", "a\0.jpg", "fields"),
    ("fileName", "\ud800.jpg", "fields"),
    ("fileName", 7, "fields"),
]


def test_an_invalid_field_is_a_422(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for field, value, code in UNUSABLE:
        with subtests.test(field=field, value=value, code=code):
            response = presign(alice, home, {**ROOM, field: value})
            assert (response.status_code, response.json["error"]["code"]) == (422, code)
            assert db.session.query(Upload).count() == 0


def test_a_missing_field_is_named(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for field in ("fileName", "contentType", "sizeBytes"):
        with subtests.test(field=field):
            response = presign(alice, home, {name: value for name, value in ROOM.items() if name != field})
            assert response.status_code == 422
            assert list(response.json["error"]["details"]) == [field]


def test_exactly_ten_megabytes_are_accepted(alice: Person, home: Property) -> None:
    assert presign(alice, home, {**ROOM, "sizeBytes": 10 * 1024 * 1024}).status_code == 200


def test_a_full_property_is_a_422_that_names_the_numbers(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=2, imports_per_month=9))
    for _ in range(2):
        factories.photo_in(home)
    response = presign(alice, home)
    assert response.status_code == 422
    assert response.json["error"]["code"] == "quota_exceeded"
    assert response.json["error"]["details"] == {
        "limit": "imagesPerProperty", "max": 2, "used": 2, "requested": 1,
    }  # fmt: skip


def test_unconfirmed_uploads_use_no_quota_but_have_their_own_limit(alice: Person, home: Property) -> None:
    assert {presign(alice, home).status_code for _ in range(60)} == {200}
    response = presign(alice, home)
    assert (response.status_code, response.json["error"]["code"]) == (429, "too_many_outstanding")
    assert int(response.headers["Retry-After"]) > 0


def test_the_response_is_not_cached_and_sets_no_cookie(alice: Person, home: Property) -> None:
    headers = presign(alice, home).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


def test_a_foreign_property_gets_the_same_response_as_an_absent_one(charlie: Person, home: Property) -> None:
    foreign = presign(charlie, home)
    absent = charlie.api("POST", f"/api/v1/properties/{ABSENT}/images/presign", json=ROOM)
    assert foreign.status_code == absent.status_code == 422
    assert foreign.data == absent.data
    assert db.session.query(Upload).count() == 0


def test_the_url_uses_the_public_endpoint(alice: Person, home: Property) -> None:
    url = presign(alice, home).json["data"]["uploadUrl"]
    settings = config.settings()
    assert url.startswith(f"{settings.s3_public_endpoint_url or settings.s3_endpoint_url}/")
