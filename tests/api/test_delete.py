"""DELETE …/images and POST …/images/delete (Property Images API, "Delete Images")."""

from __future__ import annotations

from typing import Any

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person

BOTH_WAYS = pytest.mark.parametrize("way", ["DELETE", "POST"])


def delete(person: Person, home: Property, ids: Any, way: str = "DELETE", **headers: str) -> Any:
    path = f"/api/v1/properties/{home.uuid}/images" + ("/delete" if way == "POST" else "")
    return person.api(way, path, json={"imageIds": ids}, headers=headers)


def ids_in(home: Property) -> list[str]:
    db.session.rollback()
    return [str(image.uuid) for image in gallery.images(home)]


@BOTH_WAYS
def test_deleted_images_disappear_and_the_rest_move_up(
    alice: Person, home: Property, three: list[str], way: str
) -> None:
    response = delete(alice, home, three[:2], way)
    assert (response.status_code, response.json) == (200, {"data": {"deleted": 2}})
    assert ids_in(home) == three[2:]
    assert [image.position for image in gallery.images(home)] == [0]


def test_rows_and_objects_are_deleted(
    alice: Person, home: Property, three: list[str], buckets: Buckets, work_off: Any
) -> None:
    work_off()
    assert delete(alice, home, three).json["data"]["deleted"] == 3
    assert buckets.listing() == set()


@BOTH_WAYS
def test_ids_outside_this_property_are_skipped(
    alice: Person, charlie: Person, home: Property, three: list[str], way: str
) -> None:
    foreign = str(factories.photo_in(factories.home_of(charlie.workspace)).uuid)
    neighbours = str(factories.photo_in(factories.home_of(alice.workspace, "Barn")).uuid)
    response = delete(alice, home, [foreign, neighbours, "nonsense", "", three[0], three[0]], way)
    assert response.json == {"data": {"deleted": 1}}
    assert ids_in(home) == three[1:]


def test_an_event_is_emitted_only_if_something_was_deleted(alice: Person, home: Property, three: list[str]) -> None:
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    for _ in range(2):
        delete(alice, home, three[:2])
    assert db.session.query(Delivery).count() == 1


def test_one_to_twenty_ids(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for ids in ([], ["x"] * 21, [1], "x", None, [None]):
        with subtests.test(ids=ids):
            assert delete(alice, home, ids).status_code == 422


def test_a_delete_without_its_body_deletes_nothing(alice: Person, home: Property, three: list[str]) -> None:
    """As behind a proxy that drops it."""
    assert alice.api("DELETE", f"/api/v1/properties/{home.uuid}/images").status_code == 415
    assert ids_in(home) == three


def test_an_idempotency_key_replays_the_response(alice: Person, home: Property, three: list[str]) -> None:
    for _ in range(2):
        response = delete(alice, home, three[:1], **{"Idempotency-Key": "6d1c"})
        assert response.json == {"data": {"deleted": 1}}
    assert ids_in(home) == three[1:]
