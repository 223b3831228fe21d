"""POST …/images/confirm: an uploaded file becomes an image (Property Images API, "Confirm Upload")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import config
from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import gallery, properties
from portal.images.models import Image, Property
from portal.images.uploads import UploadedFile
from portal.infra import jobs
from tests import factories
from tests.api.world import ABSENT
from tests.buckets import Buckets
from tests.factories import Person


def body_of(arrived: UploadedFile, **changes: Any) -> dict[str, Any]:
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    return {**said, "altText": "Living room", **changes}


def confirm(person: Person, home: Property, body: Any, **kwargs: Any) -> Any:
    return person.api("POST", f"/api/v1/properties/{home.uuid}/images/confirm", json=body, **kwargs)


@pytest.fixture
def arrived(home: Property) -> UploadedFile:
    """A photo that has been PUT and is not confirmed yet."""
    return factories.uploaded(home, factories.jpeg())


def test_confirm_returns_the_image_and_its_location(
    app: Any, alice: Person, home: Property, arrived: UploadedFile
) -> None:
    response = confirm(alice, home, body_of(arrived))
    assert response.status_code == 201
    image = gallery.images(home)[0]
    assert response.json == {
        "data": {
            "id": str(image.uuid),
            "url": f"{config.settings().images_url}/{arrived.key}",
            "altText": "Living room",
            "order": 0,
        }
    }
    assert response.headers["Location"] == f"/api/v1/properties/{home.uuid}/images/{image.uuid}"
    assert "Idempotent-Replayed" not in response.headers


def test_the_location_resolves_and_keeps_the_clients_property_id(
    alice: Person, home: Property, arrived: UploadedFile
) -> None:
    path = f"/api/v1/properties/{home.id}/images"
    response = alice.api("POST", f"{path}/confirm", json=body_of(arrived))
    assert response.headers["Location"].startswith(f"{path}/")
    found = alice.api("GET", response.headers["Location"])
    assert (found.status_code, found.json) == (200, response.json)


def test_repeating_a_confirm_replays_the_response(alice: Person, home: Property, arrived: UploadedFile) -> None:
    first, second = (confirm(alice, home, body_of(arrived)) for _ in range(2))
    assert (second.status_code, second.data) == (201, first.data)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(gallery.images(home)) == 1


def test_added_by_is_the_keys_name(alice: Person, home: Property, arrived: UploadedFile) -> None:
    confirm(alice, home, body_of(arrived))
    assert gallery.images(home)[0].added_by == "Alice's key"


def test_each_new_image_goes_last(alice: Person, home: Property) -> None:
    orders = [
        confirm(alice, home, body_of(factories.uploaded(home, factories.jpeg()))).json["data"]["order"]
        for _ in range(3)
    ]
    assert orders == [0, 1, 2]


def test_the_alt_text_is_kept(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for sent, kept in ((None, None), ("", None), ("x" * 500, "x" * 500), ("<b>", "<b>")):
        arrived = factories.uploaded(home, factories.jpeg())
        with subtests.test(sent=sent, kept=kept):
            assert confirm(alice, home, body_of(arrived, altText=sent)).json["data"]["altText"] == kept


def test_the_alt_text_may_be_missing(alice: Person, home: Property, arrived: UploadedFile) -> None:
    body = body_of(arrived)
    del body["altText"]
    assert confirm(alice, home, body).json["data"]["altText"] is None


UNUSABLE = [
    ({"contentType": "image/png"}, "differs_from_presigned"),
    ({"sizeBytes": 5}, "differs_from_presigned"),
    ({"sizeBytes": 2**63}, "differs_from_presigned"),
    ({"sizeBytes": True}, "fields"),
    ({"altText": "x" * 501}, "alt_text"),
    ({"altText": "\ud800"}, "fields"),
    ({"altText": "a\0b"}, "fields"),
    ({"altText": 7}, "fields"),
    ({"r2Key": None}, "fields"),
    ({"r2Key": "a\0b"}, "fields"),
    ({"r2Key": ""}, "unknown_key"),
    ({"r2Key": "/etc/passwd"}, "unknown_key"),
    ({"r2Key": "x" * 1025}, "unknown_key"),
]


def test_an_invalid_field_is_a_422_and_changes_nothing(
    alice: Person, home: Property, arrived: UploadedFile, buckets: Buckets, subtests: pytest.Subtests
) -> None:
    before = buckets.listing()
    for changes, code in UNUSABLE:
        with subtests.test(changes=changes, code=code):
            response = confirm(alice, home, body_of(arrived, **changes))
            assert (response.status_code, response.json["error"]["code"]) == (422, code)
            assert buckets.listing() == before
            assert gallery.images(home) == []


def test_every_foreign_or_malformed_key_gets_the_same_response(
    alice: Person, charlie: Person, home: Property, arrived: UploadedFile
) -> None:
    """tests/contracts/README.md, "What a confirm checks"."""
    neighbour = factories.home_of(alice.workspace, "Birch Barn")
    foreign = factories.home_of(charlie.workspace, "Corvid Loft")
    prefix = arrived.key.rpartition("/")[0]
    strange = [
        factories.uploaded(neighbour, factories.jpeg()).key,
        factories.uploaded(foreign, factories.jpeg()).key,
        f"{prefix}/{ABSENT}.jpg",
        f"{prefix}/../{home.uuid}/{arrived.key.rpartition('/')[2]}",
        arrived.key.replace("/", "//", 1),
        arrived.key.replace("images/", "images/%2e%2e/", 1),
        arrived.key.upper(),
        f"/{arrived.key}",
        "properties/1/x-lg.webp",
    ]
    answers = {confirm(alice, home, body_of(arrived, r2Key=key)).data for key in strange}
    assert len(answers) == 1
    assert b"unknown_key" in answers.pop()


def test_confirm_before_the_upload_is_a_422_and_works_after_it(alice: Person, home: Property) -> None:
    photo = factories.jpeg()
    ticket = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": len(photo)}
    said = alice.api("POST", f"/api/v1/properties/{home.uuid}/images/presign", json=ticket).json["data"]
    body = {"r2Key": said["r2Key"], "contentType": "image/jpeg", "sizeBytes": len(photo)}
    response = confirm(alice, home, body)
    assert (response.status_code, response.json["error"]["code"]) == (422, "not_uploaded")
    assert factories.put(said["uploadUrl"], photo, "image/jpeg").status_code == 200
    assert confirm(alice, home, body).status_code == 201


def test_a_file_of_another_type_is_a_422(alice: Person, home: Property) -> None:
    page = b"<!doctype html><script>alert(1)</script>" * 20
    response = confirm(alice, home, body_of(factories.uploaded(home, page)))
    assert response.status_code == 422
    assert gallery.images(home) == []


def test_the_key_of_a_deleted_image_is_a_422(alice: Person, home: Property, arrived: UploadedFile) -> None:
    confirm(alice, home, body_of(arrived))
    db.session.delete(gallery.images(home)[0])
    db.session.commit()
    response = confirm(alice, home, body_of(arrived))
    assert (response.status_code, response.json["error"]["code"]) == (422, "already_used")


def test_the_quota_is_checked_again(
    alice: Person, home: Property, arrived: UploadedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.photo_in(home)
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=1, imports_per_month=9))
    response = confirm(alice, home, body_of(arrived))
    assert (response.status_code, response.json["error"]["code"]) == (422, "quota_exceeded")


def test_a_property_deleted_meanwhile_is_a_422(alice: Person, home: Property, arrived: UploadedFile) -> None:
    path = f"/api/v1/properties/{home.uuid}/images/confirm"
    properties.delete(home)
    response = alice.api("POST", path, json=body_of(arrived))
    assert (response.status_code, response.json["error"]["code"]) == (422, "property_not_found")


def test_twenty_concurrent_confirms_make_one_image(
    app: Any, alice: Person, home: Property, arrived: UploadedFile, at_once: Callable[..., list[Any]]
) -> None:
    path, body = f"/api/v1/properties/{home.uuid}/images/confirm", body_of(arrived)
    answers = at_once(lambda: alice.api("POST", path, json=body), *[()] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert len([a for a in answers if "Idempotent-Replayed" not in a.headers]) == 1
    assert db.session.query(Image).count() == 1


def test_confirm_enqueues_the_variants(
    alice: Person, home: Property, arrived: UploadedFile, work_off: Callable[[], int]
) -> None:
    confirm(alice, home, body_of(arrived))
    assert jobs.queue(jobs.PIXELS).count == 1
    work_off()
    db.session.rollback()
    assert gallery.images(home)[0].variants == "ready"


def test_a_foreign_property_gets_the_same_response_as_an_absent_one(
    charlie: Person, home: Property, arrived: UploadedFile
) -> None:
    foreign = confirm(charlie, home, body_of(arrived))
    absent = charlie.api("POST", f"/api/v1/properties/{ABSENT}/images/confirm", json=body_of(arrived))
    assert foreign.status_code == absent.status_code == 422
    assert foreign.data == absent.data
    assert gallery.images(home) == []
