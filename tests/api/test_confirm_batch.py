"""POST …/images/confirm-batch (Property Images API, "Confirm Batch")."""

from __future__ import annotations

from typing import Any

import pytest

from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.images.uploads import UploadedFile
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person


def said(arrived: UploadedFile, **more: Any) -> dict[str, Any]:
    return {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes, **more}


def confirm(person: Person, home: Property, images: Any, **headers: str) -> Any:
    path = f"/api/v1/properties/{home.uuid}/images/confirm-batch"
    return person.api("POST", path, json={"images": images}, headers=headers)


@pytest.fixture
def three(home: Property) -> list[dict[str, Any]]:
    return [said(factories.uploaded(home, factories.jpeg(32 + n, 24))) for n in range(3)]


def photos(home: Property) -> int:
    db.session.rollback()
    return len(gallery.images(home))


def test_all_become_images_in_the_order_sent(alice: Person, home: Property, three: Any) -> None:
    three[0]["altText"] = "Kitchen"
    response = confirm(alice, home, three)
    assert response.status_code == 201
    assert "Location" not in response.headers
    assert [list(each) for each in response.json["data"]] == [["id", "url", "altText", "order"]] * 3
    assert [each["altText"] for each in response.json["data"]] == ["Kitchen", None, None]
    assert [each["order"] for each in response.json["data"]] == [0, 1, 2]
    assert alice.api("GET", f"/api/v1/properties/{home.uuid}/images").json["data"] == response.json["data"]
    assert [image.is_main for image in gallery.images(home)] == [True, False, False]
    assert {image.added_by for image in gallery.images(home)} == {"Alice's key"}


def test_new_images_follow_the_existing_ones(alice: Person, home: Property, three: Any) -> None:
    factories.photo_in(home)
    assert [each["order"] for each in confirm(alice, home, three).json["data"]] == [1, 2, 3]


def test_a_batch_emits_one_event(alice: Person, home: Property, three: Any) -> None:
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    confirm(alice, home, three)
    assert db.session.query(Delivery).count() == 1
    confirm(alice, home, three)
    assert db.session.query(Delivery).count() == 1


WRONG = [
    ({"r2Key": "images/a/b/c.jpg"}, "unknown_key"),
    ({"sizeBytes": 9}, "differs_from_presigned"),
    ({"contentType": "image/png"}, "differs_from_presigned"),
    ({"altText": "x" * 501}, "alt_text"),
    ({"altText": 1}, "fields"),
]


def test_an_invalid_item_is_named_and_nothing_is_confirmed(
    alice: Person, home: Property, three: Any, buckets: Buckets, subtests: pytest.Subtests
) -> None:
    before = buckets.listing()
    for change, code in WRONG:
        with subtests.test(change=change, code=code):
            response = confirm(alice, home, [three[0], {**three[1], **change}, three[2]])
            assert (response.status_code, response.json["error"]["code"]) == (422, code)
            assert response.json["error"]["details"]["index"] == 1
            assert photos(home) == 0
            assert buckets.listing() == before
    assert confirm(alice, home, three).status_code == 201, "valid items can still be confirmed"


def test_a_missing_or_fake_file_stops_the_whole_batch(alice: Person, home: Property, three: Any) -> None:
    ticket = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}
    path = f"/api/v1/properties/{home.uuid}/images/presign"
    absent = {**ticket, "r2Key": alice.api("POST", path, json=ticket).json["data"]["r2Key"]}
    fake = said(factories.uploaded(home, b"<html>no</html>"))
    for wrong in (absent, fake):
        response = confirm(alice, home, [*three, wrong])
        assert (response.status_code, response.json["error"]["details"]["index"]) == (422, 3)
        assert photos(home) == 0


def test_a_batch_over_the_quota_confirms_nothing(
    alice: Person, home: Property, three: Any, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.photo_in(home)
    before = buckets.listing()
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=3, imports_per_month=9))
    response = confirm(alice, home, three)
    assert (response.status_code, response.json["error"]["code"]) == (422, "quota_exceeded")
    said = {"limit": "imagesPerProperty", "max": 3, "used": 1, "requested": 3}
    assert response.json["error"]["details"] == said
    assert photos(home) == 1
    assert buckets.listing() == before


def test_repeating_a_batch_replays_the_response(alice: Person, home: Property, three: Any) -> None:
    first, second = confirm(alice, home, three), confirm(alice, home, three)
    assert (second.status_code, second.data) == (201, first.data)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert photos(home) == 3


def test_a_batch_may_mix_confirmed_and_new_uploads(alice: Person, home: Property, three: Any) -> None:
    (first,) = confirm(alice, home, three[1:2]).json["data"]
    response = confirm(alice, home, three)
    assert response.json["data"][1] == first
    assert [each["order"] for each in response.json["data"]] == [1, 0, 2]
    assert "Idempotent-Replayed" not in response.headers


def test_the_same_key_twice_in_a_batch_is_one_image(
    alice: Person, home: Property, three: Any, buckets: Buckets
) -> None:
    first, second = confirm(alice, home, three[:1] * 2).json["data"]
    assert first == second
    assert photos(home) == 1
    stored = {key for _, key in buckets.listing()}
    assert stored == {gallery.images(home)[0].original_key, three[1]["r2Key"], three[2]["r2Key"]}


def test_an_empty_batch_and_more_than_twenty_items_are_refused(
    alice: Person, home: Property, three: Any, subtests: pytest.Subtests
) -> None:
    for count in (0, 21):
        with subtests.test(count=count):
            assert confirm(alice, home, three[:1] * count).status_code == 422


def test_an_idempotency_key_confirms_once(alice: Person, home: Property, three: Any) -> None:
    key = {"Idempotency-Key": "6d1c"}
    first, second = confirm(alice, home, three, **key), confirm(alice, home, three, **key)
    assert first.data == second.data
    assert second.headers["Idempotent-Replayed"] == "true"
    assert photos(home) == 3
