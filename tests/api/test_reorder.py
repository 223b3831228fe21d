"""PATCH …/images/reorder, and the ETag that If-Match names (Property Images API, "Reorder Images")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.factories import Person


def reorder(person: Person, home: Property, ids: Any, **headers: str) -> Any:
    path = f"/api/v1/properties/{home.uuid}/images/reorder"
    return person.api("PATCH", path, json={"imageIds": ids}, headers=headers)


def listed(person: Person, home: Property, **headers: str) -> Any:
    return person.api("GET", f"/api/v1/properties/{home.uuid}/images", headers=headers)


def order_of(person: Person, home: Property) -> list[str]:
    return [each["id"] for each in listed(person, home).json["data"]]


def test_the_first_id_has_order_0_the_second_1(alice: Person, home: Property, three: list[str]) -> None:
    a, b, c = three
    response = reorder(alice, home, [c, a, b])
    assert (response.status_code, response.data) == (200, b'{"ok":true}\n')
    assert [(each["id"], each["order"]) for each in listed(alice, home).json["data"]] == [(c, 0), (a, 1), (b, 2)]


def test_unnamed_images_keep_their_order_after_the_named_ones(alice: Person, home: Property, three: list[str]) -> None:
    a, b, c = three
    reorder(alice, home, [c])
    assert order_of(alice, home) == [c, a, b]
    cover = next(image for image in gallery.images(home) if image.is_main)
    assert str(cover.uuid) == a, "reordering never changes the main image"


def test_duplicate_and_foreign_ids_are_a_422(alice: Person, home: Property, three: list[str]) -> None:
    neighbours = str(factories.photo_in(factories.home_of(alice.workspace, "Barn")).uuid)
    for ids in ([three[1], three[1]], [neighbours], ["nonsense"], [], three * 7, [1], None):
        assert reorder(alice, home, ids).status_code == 422
    assert order_of(alice, home) == three


def test_a_reorder_emits_one_event(alice: Person, home: Property, three: list[str]) -> None:
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    for _ in range(2):
        reorder(alice, home, three[::-1])
    assert db.session.query(Delivery).count() == 1


def test_the_list_has_a_strong_etag_that_changes_with_it(alice: Person, home: Property, three: list[str]) -> None:
    tags = [listed(alice, home).headers["ETag"] for _ in range(2)]
    assert tags[0] == tags[1] == f'"{home.gallery_version}"'
    alice.api("PATCH", f"/api/v1/properties/{home.uuid}/images/{three[0]}", json={"altText": "Pool"})
    assert listed(alice, home).headers["ETag"] != tags[0]


def test_an_unchanged_list_is_a_304(alice: Person, home: Property, three: list[str]) -> None:
    tag = listed(alice, home).headers["ETag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = listed(alice, home, **{"If-None-Match": sent})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
    for sent in ('"other"', "nonsense", ""):
        assert listed(alice, home, **{"If-None-Match": sent}).status_code == 200


def test_if_match_accepts_only_the_current_etag(alice: Person, home: Property, three: list[str]) -> None:
    tag = listed(alice, home).headers["ETag"]
    assert reorder(alice, home, three[::-1], **{"If-Match": tag}).status_code == 200
    response = reorder(alice, home, three, **{"If-Match": tag})
    assert (response.status_code, response.json["error"]["code"]) == (412, "precondition_failed")
    assert order_of(alice, home) == three[::-1]
    assert reorder(alice, home, three, **{"If-Match": "*"}).status_code == 200


def test_any_other_if_match_is_a_412(
    alice: Person, home: Property, three: list[str], subtests: pytest.Subtests
) -> None:
    for sent in ("{weak}", '"other"', "nonsense", ""):
        with subtests.test(sent=sent):
            tag = listed(alice, home).headers["ETag"]
            response = reorder(alice, home, three[::-1], **{"If-Match": sent.format(weak=f"W/{tag}")})
            assert response.status_code == 412
            assert order_of(alice, home) == three


def test_one_of_ten_concurrent_reorders_with_one_etag_wins(
    alice: Person, home: Property, three: list[str], at_once: Callable[..., list[Any]]
) -> None:
    tag = listed(alice, home).headers["ETag"]
    a, b, c = three
    path, body = f"/api/v1/properties/{home.uuid}/images/reorder", {"imageIds": [c, b, a]}
    answers = at_once(lambda: alice.api("PATCH", path, json=body, headers={"If-Match": tag}), *[()] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
