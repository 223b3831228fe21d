"""A foreign row is answered like an absent one, on every route of the API."""

from __future__ import annotations

import pytest
from flask import Flask

from portal.accounts import access
from portal.images import keys
from portal.images.models import Property
from portal.images.uploads import UploadedFile
from tests.api.world import (
    ABSENT,
    ABSENT_NUMBER,
    HOOKS,
    MANAGED,
    ONE,
    ROUTES,
    World,
    absence,
    ask,
    deletions_last,
    everything,
    furnished,
    is_image_cdn,
    named,
    renew,
)
from tests.buckets import Buckets
from tests.factories import Person

PROPERTY_ROUTES = [route for route in ROUTES if "<id>" in route]
MANAGED_ROUTES = [route for route in ROUTES if MANAGED in route]
INNER_ROUTES = [route for route in ROUTES if route.replace("<provider>", "").count("<") == 2]


@pytest.fixture
def world(alice: Person, bob: Person, charlie: Person, home: Property) -> World:
    return furnished(alice, bob, charlie, home)


def test_every_route_is_covered(app: Flask) -> None:
    there = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.rule not in ("/api/openapi.json", "/api/docs")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there == set(ROUTES), "add each new route to ROUTES"


def test_the_owner_succeeds(world: World, subtests: pytest.Subtests) -> None:
    succeeds(world, world.alice, sorted(ROUTES, key=deletions_last), subtests)


def test_an_editors_key_succeeds_on_all_but_admin_routes(world: World, subtests: pytest.Subtests) -> None:
    succeeds(
        world, world.bob, sorted([route for route in ROUTES if MANAGED not in route], key=deletions_last), subtests
    )


def succeeds(world: World, person: Person, routes: list[str], subtests: pytest.Subtests) -> None:
    for route in routes:
        renew(world, route)
        with subtests.test(route=route):
            status, body, _ = ask(world, person, route, named(route, world.outer(route)[0]), world.inner(route)[0].uuid)
            assert status < 300, body


def test_a_foreign_id_is_answered_like_an_absent_one(world: World, buckets: Buckets, subtests: pytest.Subtests) -> None:
    before = everything(buckets)
    for route in PROPERTY_ROUTES:
        mine, inner = world.outer(route)[0], world.inner(route)[0]
        with subtests.test(route=route):
            absent = ask(world, world.charlie, route, ABSENT, ABSENT)
            assert absent[0] == absence(route)
            for outer in (mine.uuid, mine.id, ABSENT_NUMBER, "0", "prop456"):
                assert ask(world, world.charlie, route, outer, inner.uuid) == absent
    assert everything(buckets) == before


def test_a_foreign_parent_of_an_own_child_is_absent(world: World, buckets: Buckets, subtests: pytest.Subtests) -> None:
    before = everything(buckets)
    for route in INNER_ROUTES:
        with subtests.test(route=route):
            absent = ask(world, world.charlie, route, ABSENT, ABSENT)
            assert ask(world, world.charlie, route, world.outer(route)[0].uuid, world.inner(route)[1].uuid) == absent
    assert everything(buckets) == before


def test_a_foreign_child_of_an_own_parent_is_absent(world: World, buckets: Buckets, subtests: pytest.Subtests) -> None:
    before = everything(buckets)
    for route in INNER_ROUTES:
        _, den, neighbour = (each.uuid for each in world.outer(route))
        foreign, own = world.inner(route)
        with subtests.test(route=route):
            absent = ask(world, world.charlie, route, den, ABSENT)
            assert absent[0] == absence(route)
            for inner in (foreign.uuid, foreign.id, own.id, "1"):
                assert ask(world, world.charlie, route, den, inner) == absent
            assert ask(world, world.alice, route, neighbour, foreign.uuid) == absent, (
                "and the child of another own parent"
            )
    assert everything(buckets) == before


def test_foreign_images_are_skipped_by_deletes(world: World, buckets: Buckets) -> None:
    before = everything(buckets)
    for route in (f"DELETE {ONE}/images", f"POST {ONE}/images/delete"):
        status, body, _ = ask(world, world.charlie, route, world.den.uuid)
        assert (status, body) == (200, b'{"data":{"deleted":0}}'), route
    assert everything(buckets) == before


def test_without_a_key_nothing_is_revealed(
    app: Flask, world: World, buckets: Buckets, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_STRANGER", "1000 per minute")
    nobody = Person(app, world.charlie.user, world.charlie.workspace, "")
    refused(world, dict.fromkeys(ROUTES, nobody), 401, buckets, subtests)


def test_a_revoked_key_reveals_nothing(
    app: Flask, world: World, buckets: Buckets, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_STRANGER", "1000 per minute")
    for key in access.api_keys(world.alice.workspace):
        access.revoke_api_key(world.alice.workspace, str(key.uuid))
    refused(world, dict.fromkeys(ROUTES, world.alice), 401, buckets, subtests)


def test_a_key_of_the_wrong_scope_learns_only_that(
    app: Flask, world: World, buckets: Buckets, subtests: pytest.Subtests
) -> None:
    workspace = world.alice.workspace
    halves = {
        scope: Person(
            app, world.alice.user, workspace, access.create_api_key(workspace, "Half a key", scopes={scope}).secret
        )
        for scope in access.SCOPES
    }

    def another_scope(route: str) -> str:
        noun = "integrations" if is_image_cdn(route) else "images"
        return f"{noun}:write" if route.startswith("GET") or HOOKS in route else f"{noun}:read"

    refused(world, {route: halves[another_scope(route)] for route in ROUTES}, 403, buckets, subtests)


def test_an_editors_key_learns_only_that_a_route_needs_an_admin(
    world: World, buckets: Buckets, subtests: pytest.Subtests
) -> None:
    refused(world, dict.fromkeys(MANAGED_ROUTES, world.bob), 403, buckets, subtests)


def refused(world: World, people: dict[str, Person], status: int, buckets: Buckets, subtests: pytest.Subtests) -> None:
    """Check that own, foreign and absent rows get one answer; `people` maps each route to its caller."""
    before = everything(buckets)
    for route, person in people.items():
        (mine, foreign, _), (inner, foreign_inner) = world.outer(route), world.inner(route)
        with subtests.test(route=route):
            answer = ask(world, person, route, named(route, mine), inner.uuid)
            assert answer[0] == status
            assert ask(world, person, route, named(route, foreign), foreign_inner.uuid) == answer
            assert ask(world, person, route, ABSENT, ABSENT) == answer
    assert everything(buckets) == before


def test_foreign_images_are_unknown_to_rotations_and_metadata(world: World, buckets: Buckets) -> None:
    before = everything(buckets)
    for field in ("existingImageRotations", "imagesMeta"):
        said = []
        for number in (world.photo.id, int(ABSENT_NUMBER)):
            meta = {"id": number, "url": keys.image_url(world.photo), "orderIndex": 0, "isMain": True}
            named = {"existingImageRotations": {str(number): 1}, "imagesMeta": [meta]}[field]
            body = {field: named, "imagesToDelete": [world.den_photo.id], "name": "Mine"}
            response = world.charlie.api("PUT", f"/api/properties/{world.den.id}", json=body)
            said.append((response.status_code, response.data))
        assert said[0] == said[1], field
        assert said[0][0] == 500, field
    assert everything(buckets) == before


def test_foreign_images_to_delete_are_skipped(world: World, buckets: Buckets) -> None:
    body = {"imagesToDelete": [world.photo.id, int(ABSENT_NUMBER)]}
    world.charlie.api("PUT", f"/api/properties/{world.den.id}", json={})  # renders his photo's variants
    before = everything(buckets)
    assert world.charlie.api("PUT", f"/api/properties/{world.den.id}", json=body).status_code == 200
    assert everything(buckets) == before


def test_a_new_property_belongs_to_its_creators_workspace(world: World) -> None:
    made = world.charlie.api("POST", "/api/v1/properties", json={"name": "Nest"}).json["data"]["id"]
    assert world.alice.api("GET", f"/api/v1/properties/{made}").status_code == 404
    theirs = [item["name"] for item in world.charlie.api("GET", "/api/v1/properties").json["data"]]
    assert theirs == ["Nest", "Corvid Loft"]


def test_a_foreign_upload_key_is_unknown(world: World, buckets: Buckets) -> None:
    before = everything(buckets)
    route = f"POST {ONE}/images/confirm"
    foreign = ask(world, world.charlie, route, world.den.uuid)
    world.arrived = UploadedFile(f"images/{ABSENT}/{ABSENT}/{ABSENT}.jpg", "image/jpeg", 9)
    assert foreign == ask(world, world.charlie, route, world.den.uuid)
    assert everything(buckets) == before


def test_idempotency_keys_of_two_workspaces_are_independent(world: World) -> None:
    headers = {"Idempotency-Key": "the same"}
    made = [
        person.api("POST", "/api/v1/properties", json={"name": "Barn"}, headers=headers).json["data"]["id"]
        for person in (world.alice, world.charlie)
    ]
    assert len(set(made)) == 2
