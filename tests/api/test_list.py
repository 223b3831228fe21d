"""GET …/images and …/images/:imageId, PATCH of the alternative text (Property Images API, "List Images")."""

from __future__ import annotations

import pytest

from portal.images import gallery, keys
from portal.images.models import Property
from tests import factories
from tests.api.world import ABSENT
from tests.factories import Person


def test_the_list_is_in_display_order(alice: Person, home: Property) -> None:
    first, second = factories.photo_in(home), factories.photo_in(home)
    gallery.describe(home, str(first.uuid), "Living room with hardwood floors")
    response = alice.api("GET", f"/api/v1/properties/{home.uuid}/images")
    assert response.status_code == 200
    assert response.json == {
        "data": [
            {
                "id": str(first.uuid),
                "url": keys.image_url(first),
                "altText": "Living room with hardwood floors",
                "order": 0,
            },
            {"id": str(second.uuid), "url": keys.image_url(second), "altText": None, "order": 1},
        ]
    }


def test_an_empty_gallery_is_an_empty_list(alice: Person, home: Property) -> None:
    assert alice.api("GET", f"/api/v1/properties/{home.id}/images").json == {"data": []}


def test_an_unconfirmed_upload_is_not_listed(alice: Person, home: Property) -> None:
    factories.uploaded(home, factories.jpeg())
    assert alice.api("GET", f"/api/v1/properties/{home.uuid}/images").json == {"data": []}


def test_an_unknown_property_is_a_404(alice: Person, subtests: pytest.Subtests) -> None:
    for id in (ABSENT, "prop456", "0", "9" * 30, "-1", "%00", "½", "a" * 5000):
        with subtests.test(id=id):
            response = alice.api("GET", f"/api/v1/properties/{id}/images")
            assert (response.status_code, response.json["error"]["code"]) == (404, "property_not_found")


def test_a_property_has_two_ids_and_no_others(alice: Person, home: Property) -> None:
    for id in (f"{home.id:019}999", f"{'-' * 400}{home.uuid}", f"{home.id}.0", f"+{home.id}"):
        assert alice.api("GET", f"/api/v1/properties/{id}/images").status_code == 404


def test_an_image_can_be_read_by_its_id(alice: Person, home: Property) -> None:
    image = factories.photo_in(home)
    path = f"/api/v1/properties/{home.uuid}/images"
    assert alice.api("GET", f"{path}/{image.uuid}").json["data"] == alice.api("GET", path).json["data"][0]


def test_an_unknown_image_is_a_404(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for id in (ABSENT, "1", "presign", "%00"):
        with subtests.test(id=id):
            response = alice.api("GET", f"/api/v1/properties/{home.uuid}/images/{id}")
            assert (response.status_code, response.json["error"]["code"]) == (404, "image_not_found")


def test_the_alt_text_can_be_changed(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    image = factories.photo_in(home)
    path = f"/api/v1/properties/{home.uuid}/images/{image.uuid}"
    for sent, kept in (("Kitchen", "Kitchen"), ("", None), ("x" * 500, "x" * 500), (None, None)):
        with subtests.test(sent=sent, kept=kept):
            response = alice.api("PATCH", path, json={"altText": sent})
            assert (response.status_code, response.json["data"]["altText"]) == (200, kept)
            assert alice.api("GET", path).json == response.json


def test_an_invalid_alt_text_is_a_422(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    image = factories.photo_in(home)
    path = f"/api/v1/properties/{home.uuid}/images/{image.uuid}"
    for body in ({"altText": "x" * 501}, {"altText": 1}, {"altText": "\0"}, {}):
        with subtests.test(body=body):
            assert alice.api("PATCH", path, json=body).status_code == 422


def test_describing_an_unknown_image_is_a_422(alice: Person, home: Property) -> None:
    response = alice.api("PATCH", f"/api/v1/properties/{home.uuid}/images/{ABSENT}", json={"altText": "x"})
    assert (response.status_code, response.json["error"]["code"]) == (422, "image_not_found")


def test_foreign_properties_and_images_get_the_same_response_as_absent_ones(charlie: Person, home: Property) -> None:
    image = factories.photo_in(home)
    for method in ("GET", "PATCH"):
        body = {"altText": "mine"} if method == "PATCH" else None
        foreign = charlie.api(method, f"/api/v1/properties/{home.uuid}/images/{image.uuid}", json=body)
        absent = charlie.api(method, f"/api/v1/properties/{ABSENT}/images/{ABSENT}", json=body)
        assert (foreign.status_code, foreign.data) == (absent.status_code, absent.data)
    foreign = charlie.api("GET", f"/api/v1/properties/{home.uuid}/images")
    absent = charlie.api("GET", f"/api/v1/properties/{ABSENT}/images")
    assert (foreign.status_code, foreign.data) == (404, absent.data)
