"""POST …/images/presign-batch (Property Images API, "Presign Batch")."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from portal.accounts.models import IdempotencyRecord
from portal.accounts.plans import PLANS
from portal.db import db, now
from portal.images.models import Property, Upload
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.api.test_idempotency import a_second_passes
from tests.factories import Person

FILE = {"fileName": "kitchen.jpg", "contentType": "image/jpeg", "sizeBytes": 1_500_000}


def presign(person: Person, home: Property, files: Any, **headers: str) -> Any:
    path = f"/api/v1/properties/{home.uuid}/images/presign-batch"
    return person.api("POST", path, json={"images": files}, headers=headers)


def uploads() -> int:
    db.session.rollback()
    return db.session.query(Upload).count()


def test_each_file_has_its_url_and_key_in_the_order_sent(alice: Person, home: Property) -> None:
    files = [FILE, {"fileName": "bath.png", "contentType": "IMAGE/PNG", "sizeBytes": 800_000}]
    response = presign(alice, home, files)
    assert response.status_code == 200
    assert [list(each) for each in response.json["data"]] == [["fileName", "uploadUrl", "r2Key"]] * 2
    assert [each["fileName"] for each in response.json["data"]] == ["kitchen.jpg", "bath.png"]
    assert [each["r2Key"].rpartition(".")[2] for each in response.json["data"]] == ["jpg", "png"]
    assert uploads() == 2


def test_the_urls_accept_the_announced_files(alice: Person, home: Property) -> None:
    data = factories.jpeg()
    files = [{"fileName": f"{n}.jpg", "contentType": "image/jpeg", "sizeBytes": len(data)} for n in range(3)]
    for each in presign(alice, home, files).json["data"]:
        assert factories.put(each["uploadUrl"], data, "image/jpeg").status_code == 200
        assert storage.uploads.head(each["r2Key"])


def test_a_batch_has_one_to_twenty_files(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for count, status in ((0, 422), (1, 200), (20, 200), (21, 422)):
        before = uploads()
        with subtests.test(count=count):
            assert presign(alice, home, [FILE] * count).status_code == status
            assert uploads() - before == (count if status == 200 else 0)


WRONG = [
    ({"contentType": "image/gif"}, "content_type_not_allowed"),
    ({"sizeBytes": 10 * 1024 * 1024 + 1}, "too_large"),
    ({"sizeBytes": 0}, "empty"),
    ({"fileName": "x" * 256}, "file_name"),
    ({"sizeBytes": "9"}, "fields"),
    ({"fileName": None}, "fields"),
]


def test_an_invalid_item_is_named_and_nothing_is_reserved(
    alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    for change, code in WRONG:
        with subtests.test(change=change, code=code):
            response = presign(alice, home, [FILE, FILE, {**FILE, **change}])
            assert (response.status_code, response.json["error"]["code"]) == (422, code)
            assert response.json["error"]["details"]["index"] == 2
            assert uploads() == 0


def test_a_batch_over_the_quota_is_a_422_that_names_the_numbers(alice: Person, home: Property) -> None:
    factories.photo_in(home)
    response = presign(alice, home, [FILE] * 20)
    assert response.status_code == 422
    said = {"limit": "imagesPerProperty", "max": 20, "used": 1, "requested": 20}
    assert response.json["error"]["details"] == said


def test_too_many_unconfirmed_uploads_are_a_429(alice: Person, home: Property) -> None:
    for _ in range(3):
        assert presign(alice, home, [FILE] * 20).status_code == 200
    response = presign(alice, home, [FILE])
    assert (response.status_code, response.json["error"]["code"]) == (429, "too_many_outstanding")
    assert int(response.headers["Retry-After"]) > 0
    assert uploads() == 3 * PLANS["free"].images_per_property


def test_a_replayed_batch_keeps_its_keys_and_renews_expired_urls(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "6d1c"}
    first = presign(alice, home, [FILE] * 2, **key).json["data"]
    assert presign(alice, home, [FILE] * 2, **key).json["data"] == first
    with work():
        db.session.execute(update(IdempotencyRecord).values(answered_at=now() - timedelta(hours=1)))
    a_second_passes(monkeypatch)
    again = presign(alice, home, [FILE] * 2, **key).json["data"]
    assert [each["r2Key"] for each in again] == [each["r2Key"] for each in first]
    assert not {each["uploadUrl"] for each in again} & {each["uploadUrl"] for each in first}
    assert uploads() == 2
