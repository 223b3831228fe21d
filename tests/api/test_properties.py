"""/api/v1/properties: create, list, change and delete, an extension in the form of the Property Images API."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from portal.images.models import Property
from tests import factories
from tests.api.world import ABSENT
from tests.buckets import Buckets
from tests.factories import Person

ALDER = {
    "name": "Alder Cottage",
    "address": "4 Mill Lane",
    "bedrooms": 2,
    "bathrooms": 1.5,
    "sleeps": 4,
    "externalRef": "AC-1",
}


def create(person: Person, **changes: Any) -> Any:
    return person.api("POST", "/api/v1/properties", json={**ALDER, **changes})


def test_a_property_is_created(alice: Person) -> None:
    response = create(alice)
    assert response.status_code == 201
    data = response.json["data"]
    assert {name: data[name] for name in ALDER} == ALDER
    assert UUID(data["id"])
    assert isinstance(data["numericId"], int)
    assert data["photoCount"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["createdAt"])
    assert data["updatedAt"] == data["createdAt"]
    assert response.headers["Location"] == f"/api/v1/properties/{data['id']}"
    assert alice.api("GET", response.headers["Location"]).json == response.json


def test_only_the_name_is_required(alice: Person) -> None:
    data = alice.api("POST", "/api/v1/properties", json={"name": "Barn"}).json["data"]
    assert [data[name] for name in ALDER] == ["Barn", "", None, None, None, ""]


def test_a_property_is_found_by_number_and_counts_its_photos(alice: Person, home: Property) -> None:
    factories.photo_in(home)
    data = alice.api("GET", f"/api/v1/properties/{home.id}").json["data"]
    assert (data["id"], data["numericId"], data["photoCount"]) == (str(home.uuid), home.id, 1)


UNUSABLE = [
    ("name", ""),
    ("name", None),
    ("name", "x" * 201),
    ("name", "a\0b"),
    ("name", "\udfff"),
    ("address", "x" * 301),
    ("externalRef", "x" * 121),
    ("externalRef", 12),
    ("bedrooms", "2"),
    ("bedrooms", True),
    ("bedrooms", 1.5),
    ("bedrooms", -1),
    ("bedrooms", 2**63),
    ("bathrooms", float("nan")),
    ("bathrooms", float("inf")),
    ("bathrooms", True),
    ("sleeps", 10**30),
]


def test_an_invalid_field_is_a_422_that_names_it(alice: Person, subtests: pytest.Subtests) -> None:
    made = create(alice).headers["Location"]
    for field, value in UNUSABLE:
        with subtests.test(field=field, value=value):
            for response in (create(alice, **{field: value}), alice.api("PATCH", made, json={field: value})):
                assert response.status_code == 422
                assert list(response.json["error"]["details"]) == [field]
                assert response.json["error"]["details"][field].endswith(".")


def test_only_what_is_sent_is_changed(alice: Person) -> None:
    before = create(alice).json["data"]
    response = alice.api("PATCH", f"/api/v1/properties/{before['numericId']}", json={"bedrooms": None, "name": "Elm"})
    assert response.status_code == 200
    after = response.json["data"]
    assert after.pop("updatedAt") >= before.pop("updatedAt")
    assert after == {**before, "bedrooms": None, "name": "Elm"}


def test_an_empty_change_changes_nothing(alice: Person) -> None:
    before = create(alice).json
    assert alice.api("PATCH", f"/api/v1/properties/{before['data']['id']}", json={}).json == before


def test_a_deleted_property_is_gone_with_its_photos(alice: Person, home: Property, buckets: Buckets) -> None:
    factories.photo_in(home)
    factories.uploaded(home, factories.jpeg())
    path = f"/api/v1/properties/{home.uuid}"
    response = alice.api("DELETE", path)
    assert (response.status_code, response.data) == (204, b"")
    assert alice.api("GET", path).status_code == 404
    assert alice.api("DELETE", path).status_code == 422
    assert buckets.listing() == set()


def test_the_list_is_newest_first_in_pages(alice: Person) -> None:
    made = [create(alice, name=f"Home {n}").json["data"] for n in range(5)]
    seen: list[Any] = []
    cursor = ""
    for _ in range(3):
        page = alice.api("GET", f"/api/v1/properties?limit=2{cursor}").json
        assert set(page) == {"data", "nextCursor"}
        seen += page["data"]
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == made[::-1]
    assert page["nextCursor"] is None


def test_a_page_has_fifty_items_by_default(alice: Person) -> None:
    for n in range(51):
        factories.home_of(alice.workspace, f"Home {n}")
    page = alice.api("GET", "/api/v1/properties").json
    assert len(page["data"]) == 50
    assert page["nextCursor"]


def test_an_invalid_query_is_a_422(alice: Person, subtests: pytest.Subtests) -> None:
    for query in ("limit=0", "limit=101", "limit=x", "limit=", "limit=1e2", "cursor=x", "cursor=%00"):
        with subtests.test(query=query):
            assert alice.api("GET", f"/api/v1/properties?{query}").status_code == 422


def test_foreign_properties_cannot_be_seen_or_changed(charlie: Person, home: Property) -> None:
    assert charlie.api("GET", "/api/v1/properties").json == {"data": [], "nextCursor": None}
    for method, body in (("GET", None), ("PATCH", {"name": "Mine"}), ("DELETE", None)):
        foreign = charlie.api(method, f"/api/v1/properties/{home.uuid}", json=body)
        absent = charlie.api(method, f"/api/v1/properties/{ABSENT}", json=body)
        assert foreign.status_code == absent.status_code == (404 if method == "GET" else 422)
        assert foreign.data == absent.data


def test_a_foreign_cursor_reveals_nothing(alice: Person, charlie: Person) -> None:
    for n in range(3):
        factories.home_of(alice.workspace, f"Home {n}")
    cursor = alice.api("GET", "/api/v1/properties?limit=1").json["nextCursor"]
    assert charlie.api("GET", f"/api/v1/properties?cursor={cursor}").json["data"] == []
