"""A photo that was accepted and can't be processed: its row in the list, the event, the list's ETag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.db import db
from portal.images import variants
from portal.images.models import Image, Property
from portal.images.variants import lifecycle
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.conftest import on_each
from tests.factories import Person
from tests.images.test_variants import corrupted, give_original
from tests.pages.conftest import statements

__all__ = ["statements"]

CONTRACT = {"id", "url", "altText", "order"}  # Property Images API, "List Images"
STATE = {"status", "failureReason"}


def rows(person: Person, home: Property) -> list[dict[str, Any]]:
    response = person.api("GET", f"/api/v1/properties/{home.uuid}/images")
    assert response.status_code == 200
    listed: list[dict[str, Any]] = response.json["data"]
    return listed


def events() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count(Delivery.id)).where(Delivery.event == "property.updated")) or 0


@pytest.fixture
def failed(home: Property) -> Image:
    """A photo that has failed, in a gallery with a webhook."""
    image = corrupted(home)
    endpoints.create(home.workspace, "https://example.com/hook", ["property.updated"])
    variants.make(image.id)
    assert image.variants == "failed"
    return image


def test_only_a_failed_photo_has_more_fields_than_the_contract(alice: Person, home: Property, failed: Image) -> None:
    ready, pending = factories.photo_in(home), factories.photo_in(home)
    variants.make(ready.id)
    found = {row["id"]: row for row in rows(alice, home)}
    expected = {failed: CONTRACT | STATE, pending: CONTRACT, ready: CONTRACT}
    assert {id: set(row) for id, row in found.items()} == {
        str(image.uuid): fields for image, fields in expected.items()
    }
    row = found[str(failed.uuid)]
    assert (row["status"], row["failureReason"]) == ("failed", failed.failure_reason)
    path = f"/api/v1/properties/{home.uuid}/images"
    for image in (failed, pending, ready):
        assert alice.api("GET", f"{path}/{image.uuid}").json["data"] == found[str(image.uuid)]
        described = alice.api("PATCH", f"{path}/{image.uuid}", json={"altText": None})
        assert described.json["data"] == found[str(image.uuid)]


def test_a_failure_without_a_recorded_reason_has_both_fields(alice: Person, home: Property, failed: Image) -> None:
    with lifecycle.work():
        failed.failure_reason = None
    assert [(row["status"], row["failureReason"]) for row in rows(alice, home)] == [
        ("failed", "The reason is unknown.")
    ]


@on_each
def test_each_change_of_the_row_has_one_event_and_another_etag(
    alice: Person, home: Property, failed: Image, work_off: Callable[[], int]
) -> None:
    path = f"/api/v1/properties/{home.uuid}/images"
    assert events() == 1, "of the failure"
    etag = alice.api("GET", path).headers["ETag"]
    work_off()
    variants.make(failed.id)
    assert (events(), alice.api("GET", path, headers={"If-None-Match": etag}).status_code) == (1, 304)
    give_original(failed, factories.jpeg())
    variants.try_again(failed)
    assert (events(), [set(row) for row in rows(alice, home)]) == (2, [CONTRACT])
    changed = alice.api("GET", path, headers={"If-None-Match": etag})
    assert changed.status_code == 200 and changed.headers["ETag"] != etag
    work_off()
    assert (events(), [set(row) for row in rows(alice, home)]) == (2, [CONTRACT])


def test_retrying_all_sends_one_event_for_each_property(home: Property, failed: Image) -> None:
    variants.make(corrupted(home).id)
    other = factories.home_of(home.workspace, "Barn")
    variants.make(corrupted(other).id)
    fine = factories.home_of(home.workspace, "Mill")
    factories.photo_in(fine)
    before = events()
    versions = [each.gallery_version for each in (home, other, fine)]
    assert variants.try_all_again(home.workspace) == 3
    assert events() == before + 2
    assert [each.gallery_version for each in (home, other, fine)] == [versions[0] + 1, versions[1] + 1, versions[2]]


def test_a_photo_given_up_after_too_many_attempts_is_reported_too(home: Property) -> None:
    image = factories.photo_in(home)
    endpoints.create(home.workspace, "https://example.com/hook", ["property.updated"])
    for _ in range(lifecycle.MAX_ATTEMPTS):
        lifecycle._start(image)
    variants.make(image.id)
    assert (image.variants, events()) == ("failed", 1)


def test_the_list_takes_one_statement_whatever_its_rows(
    alice: Person, home: Property, failed: Image, statements: Callable[..., int]
) -> None:
    path = f"/api/v1/properties/{home.uuid}/images"
    alice.api("GET", path)  # the key's first use is recorded
    before = statements(alice.api, "GET", path)
    for _ in range(2):
        variants.make(corrupted(home).id)
        factories.photo_in(home)
    assert statements(alice.api, "GET", path) == before


def test_both_fields_are_described_as_optional_and_never_null(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    schema = document["components"]["schemas"]["ListedImageData"]
    assert set(schema["required"]) == CONTRACT
    assert set(schema["properties"]) == CONTRACT | STATE
    for name in STATE:
        field = schema["properties"][name]
        assert field["type"] == "string" and field["description"] and "default" not in field
    assert schema["properties"]["status"]["const"] == "failed"
    content = document["paths"]["/api/v1/properties/{id}/images"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/ListedImagesAnswer")
