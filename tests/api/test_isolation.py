"""Foreign equals absent, on every route of the API that there is (reliability.md, D)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from portal.accounts import access
from portal.db import db
from portal.images import imports, keys
from portal.images.models import Image, ImportJob, Property
from portal.images.uploads import Arrived
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery, Endpoint
from tests import factories
from tests.conftest import Buckets
from tests.factories import Person

ABSENT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ABSENT_NUMBER = "987654321"


@dataclass
class World:
    """Alice's home with a photo and an upload, her other home, and the same of Charlie's."""

    alice: Person
    bob: Person
    charlie: Person
    home: Property
    photo: Image
    arrived: Arrived
    den: Property
    den_photo: Image
    barn: Property
    job: ImportJob
    den_job: ImportJob
    hook: Endpoint
    den_hook: Endpoint
    hook_of_barn: Endpoint
    sent: Delivery
    den_sent: Delivery

    def outer(self, route: str) -> tuple[Any, Any, Any]:
        """What `<id>` names: Alice's, Charlie's, and another of Alice's."""
        return (self.hook, self.den_hook, self.hook_of_barn) if HOOK in route else (self.home, self.den, self.barn)

    def inner(self, route: str) -> tuple[Any, Any]:
        """What the parameter after it names: Alice's and Charlie's."""
        if "<jobId>" in route:
            return self.job, self.den_job
        return (self.sent, self.den_sent) if "<deliveryId>" in route else (self.photo, self.den_photo)


Body = Callable[[World], dict[str, Any] | None]
ONE, HOOKS, HOOK = "/api/v1/properties/<id>", "/api/v1/webhooks", "/api/v1/webhooks/<id>"
IN_C = "/api/properties/<id>"  # seed C: numbers only, admins only
ROUTES: dict[str, Body] = {
    "GET /api/v1/properties": lambda _: None,
    "POST /api/v1/properties": lambda _: {"name": "Barn"},
    f"GET {ONE}": lambda _: None,
    f"PATCH {ONE}": lambda _: {"name": "Mine"},
    f"DELETE {ONE}": lambda _: None,
    f"GET {ONE}/images": lambda _: None,
    f"POST {ONE}/images/presign": lambda _: {
        "fileName": "a.jpg",
        "contentType": "image/jpeg",
        "sizeBytes": 9,
    },
    f"POST {ONE}/images/confirm": lambda world: {
        "r2Key": world.arrived.key,
        "contentType": world.arrived.content_type,
        "sizeBytes": world.arrived.size_bytes,
    },
    f"GET {ONE}/images/<imageId>": lambda _: None,
    f"PATCH {ONE}/images/<imageId>": lambda _: {"altText": "Mine"},
    f"POST {ONE}/images/presign-batch": lambda _: {
        "images": [{"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}]
    },
    f"POST {ONE}/images/confirm-batch": lambda world: {"images": [ROUTES[f"POST {ONE}/images/confirm"](world)]},
    f"DELETE {ONE}/images": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"POST {ONE}/images/delete": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"PATCH {ONE}/images/reorder": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"POST {ONE}/images/import": lambda _: {"urls": ["http://127.0.0.1:9/a.jpg"]},
    f"GET {ONE}/images/import/<jobId>": lambda _: None,
    "GET /api/v1/usage": lambda _: None,
    f"POST {HOOKS}": lambda _: {"url": "https://example.com/hook", "events": ["property.updated"]},
    f"GET {HOOKS}": lambda _: None,
    f"GET {HOOK}": lambda _: None,
    f"PATCH {HOOK}": lambda _: {"enabled": False},
    f"DELETE {HOOK}": lambda _: None,
    f"POST {HOOK}/rotate-secret": lambda _: None,
    f"POST {HOOK}/test": lambda _: None,
    f"GET {HOOK}/deliveries": lambda _: None,
    f"POST {HOOK}/deliveries/<deliveryId>/resend": lambda _: None,
    f"GET {IN_C}": lambda _: None,
    f"PUT {IN_C}": lambda world: {"imagesToDelete": [world.photo.id], "name": "Mine"},
}
"""Each route with a body that succeeds for its owner."""

every_route = pytest.mark.parametrize("route", ROUTES)
every_property_route = pytest.mark.parametrize("route", [route for route in ROUTES if "<id>" in route])
every_route_of_c = pytest.mark.parametrize("route", [route for route in ROUTES if IN_C in route])
every_inner_route = pytest.mark.parametrize("route", [route for route in ROUTES if route.count("<") == 2])


@pytest.fixture
def world(alice: Person, bob: Person, charlie: Person, home: Property) -> World:
    den = factories.home_of(charlie.workspace, "Corvid Loft")
    hook, other, den_hook = (
        endpoints.create(person.workspace, "https://example.com/hook", ["property.updated"])
        for person in (alice, alice, charlie)
    )
    return World(
        alice,
        bob,
        charlie,
        home,
        factories.photo_in(home),
        factories.uploaded(home, factories.jpeg()),
        den,
        factories.photo_in(den),
        factories.home_of(alice.workspace, "Birch Barn"),
        imports.start(home, ["http://127.0.0.1:9/a.jpg"]),
        imports.start(den, ["http://127.0.0.1:9/a.jpg"]),
        hook,
        den_hook,
        other,
        endpoints.send_test(hook),
        endpoints.send_test(den_hook),
    )


def everything(buckets: Buckets) -> Any:
    """All rows and objects, but for when a key was used last."""
    db.session.rollback()
    tables = [table for table in db.metadata.sorted_tables if table.name != "api_key"]
    rows = {table.name: sorted(map(str, db.session.execute(table.select()))) for table in tables}
    return rows, buckets.listing()


def named(route: str, row: Any) -> Any:
    """What a path calls a row: seed C speaks of numbers only."""
    return row.id if IN_C in route else row.uuid


def ask(world: World, person: Person, route: str, outer: Any = "", inner: Any = "") -> tuple[int, bytes, Any]:
    """Status, body and headers, but for the time and how often one may still ask."""
    method, path = route.split(" ")
    path = re.sub(r"<\w+>$|<\w+>(?=/resend)", str(inner), path.replace("<id>", str(outer)))
    response = person.api(method, path, json=ROUTES[route](world))
    headers = {(name, value) for name, value in response.headers if not re.match("Date|RateLimit", name)}
    return response.status_code, response.data, headers


def test_no_route_escapes(app: Flask) -> None:
    there = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.rule not in ("/api/openapi.json", "/api/docs")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there == set(ROUTES), "give each new route a line in ROUTES"


@every_route
def test_its_owner_succeeds(world: World, route: str) -> None:
    assert ask(world, world.alice, route, named(route, world.outer(route)[0]), world.inner(route)[0].uuid)[0] < 300


@every_property_route
def test_a_foreign_one_is_an_absent_one(world: World, route: str, buckets: Buckets) -> None:
    mine, inner = world.outer(route)[0], world.inner(route)[0]
    before = everything(buckets)
    absent = ask(world, world.charlie, route, ABSENT, ABSENT)
    assert absent[0] == (404 if route.startswith("GET") or IN_C in route else 422)
    for outer in (mine.uuid, mine.id, ABSENT_NUMBER, "0", "prop456"):
        assert ask(world, world.charlie, route, outer, inner.uuid) == absent
    assert everything(buckets) == before


@every_inner_route
def test_a_foreign_one_with_ones_own_in_it_is_absent(world: World, route: str, buckets: Buckets) -> None:
    before = everything(buckets)
    absent = ask(world, world.charlie, route, ABSENT, ABSENT)
    assert ask(world, world.charlie, route, world.outer(route)[0].uuid, world.inner(route)[1].uuid) == absent
    assert everything(buckets) == before


@every_inner_route
def test_ones_own_with_a_foreign_one_in_it_is_absent(world: World, route: str, buckets: Buckets) -> None:
    _, den, neighbour = (each.uuid for each in world.outer(route))
    foreign, own = world.inner(route)
    before = everything(buckets)
    absent = ask(world, world.charlie, route, den, ABSENT)
    assert absent[0] == (404 if route.startswith("GET") else 422)
    for inner in (foreign.uuid, foreign.id, own.id, "1"):
        assert ask(world, world.charlie, route, den, inner) == absent
    assert ask(world, world.alice, route, neighbour, foreign.uuid) == absent, "of a neighbour's too"
    assert everything(buckets) == before


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_d8_foreign_photos_are_skipped(world: World, method: str, buckets: Buckets) -> None:
    before = everything(buckets)
    path = f"{ONE}/images" if method == "DELETE" else f"{ONE}/images/delete"
    status, body, _ = ask(world, world.charlie, f"{method} {path}", world.den.uuid)
    assert (status, body) == (200, b'{"data":{"deleted":0}}')
    assert everything(buckets) == before


@every_route
def test_without_a_key_nothing_is_told(app: Flask, world: World, route: str, buckets: Buckets) -> None:
    nobody = Person(app, world.charlie.user, world.charlie.workspace, "")
    refused(world, nobody, route, 401, buckets)


@every_route
def test_a_revoked_key_is_as_none(world: World, route: str, buckets: Buckets) -> None:
    for key in access.api_keys(world.alice.workspace):
        access.revoke_api_key(world.alice.workspace, str(key.uuid))
    refused(world, world.alice, route, 401, buckets)


@every_route
def test_a_key_of_the_wrong_scope_is_told_only_that(app: Flask, world: World, route: str, buckets: Buckets) -> None:
    scope = "images:write" if route.startswith("GET") or HOOKS in route else "images:read"
    workspace = world.alice.workspace
    secret = access.create_api_key(workspace, "Half a key", scopes={scope}).secret
    refused(world, Person(app, world.alice.user, workspace, secret), route, 403, buckets)


def refused(world: World, person: Person, route: str, status: int, buckets: Buckets) -> None:
    """One answer for what is one's own, foreign and absent."""
    before = everything(buckets)
    (mine, foreign, _), (inner, foreign_inner) = world.outer(route), world.inner(route)
    answer = ask(world, person, route, named(route, mine), inner.uuid)
    assert answer[0] == status
    assert ask(world, person, route, named(route, foreign), foreign_inner.uuid) == answer
    assert ask(world, person, route, ABSENT, ABSENT) == answer
    assert everything(buckets) == before


@pytest.mark.parametrize("route", [route for route in ROUTES if IN_C not in route])
def test_an_editors_key_may_do_the_same(world: World, route: str) -> None:
    assert ask(world, world.bob, route, world.outer(route)[0].uuid, world.inner(route)[0].uuid)[0] < 300


@every_route_of_c
def test_x11_in_c_an_editors_key_is_told_only_that(world: World, route: str, buckets: Buckets) -> None:
    refused(world, world.bob, route, 403, buckets)


@pytest.mark.parametrize("field", ["existingImageRotations", "imagesMeta"])
def test_d9_foreign_photos_are_unknown_in_ones_own_property(world: World, field: str, buckets: Buckets) -> None:
    before, said = everything(buckets), []
    for number in (world.photo.id, int(ABSENT_NUMBER)):
        meta = {"id": number, "url": keys.image_url(world.photo), "orderIndex": 0, "isMain": True}
        named = {"existingImageRotations": {str(number): 1}, "imagesMeta": [meta]}[field]
        body = {field: named, "imagesToDelete": [world.den_photo.id], "name": "Mine"}
        response = world.charlie.api("PUT", f"/api/properties/{world.den.id}", json=body)
        said.append((response.status_code, response.data))
    assert said[0] == said[1]
    assert said[0][0] == 500
    assert everything(buckets) == before


def test_d9_foreign_photos_are_skipped_when_deleted(world: World, buckets: Buckets) -> None:
    body = {"imagesToDelete": [world.photo.id, int(ABSENT_NUMBER)]}
    world.charlie.api("PUT", f"/api/properties/{world.den.id}", json={})  # its own photo's variants
    before = everything(buckets)
    assert world.charlie.api("PUT", f"/api/properties/{world.den.id}", json=body).status_code == 200
    assert everything(buckets) == before


def test_what_charlie_creates_is_his(world: World) -> None:
    made = world.charlie.api("POST", "/api/v1/properties", json={"name": "Nest"}).json["data"]["id"]
    assert world.alice.api("GET", f"/api/v1/properties/{made}").status_code == 404
    theirs = [item["name"] for item in world.charlie.api("GET", "/api/v1/properties").json["data"]]
    assert theirs == ["Nest", "Corvid Loft"]


def test_d3_a_foreign_key_is_unknown_in_ones_own_property(world: World, buckets: Buckets) -> None:
    before = everything(buckets)
    route = f"POST {ONE}/images/confirm"
    foreign = ask(world, world.charlie, route, world.den.uuid)
    world.arrived = Arrived(f"images/{ABSENT}/{ABSENT}/{ABSENT}.jpg", "image/jpeg", 9)
    assert foreign == ask(world, world.charlie, route, world.den.uuid)
    assert everything(buckets) == before


def test_d16_an_idempotency_key_of_another_workspace_is_ones_own(world: World) -> None:
    headers = {"Idempotency-Key": "the same"}
    made = [
        person.api("POST", "/api/v1/properties", json={"name": "Barn"}, headers=headers).json["data"]["id"]
        for person in (world.alice, world.charlie)
    ]
    assert len(set(made)) == 2
