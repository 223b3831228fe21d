"""/api/openapi.json and /api/docs: complete, self-contained, and without a cookie."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from flask import Flask
from pydantic import BaseModel

from portal.api.integrations import AccountData
from portal.api.listings import ListingImageData, ListingsAnswer
from portal.images.models import Property
from portal.webhooks.events import EVENTS, FIELDS
from tests.factories import Person

FAILURES = {  # by dialect
    "/api/v1/integration-definition": "Error",
    "/api/v1/listings": "Error",
    "/api/v1": "ErrorAnswer",
    "/api/properties": "Failed",
}
VENDOR = Path(__file__).parents[2] / "static" / "vendor"


def test_every_route_is_described_with_its_errors_and_its_key(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    assert document["openapi"] == "3.1.0"
    said = {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}
    there = {
        f"{method} {rule.rule}".replace("<", "{").replace(">", "}")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and rule.rule not in ("/api/openapi.json", "/api/docs")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert said == there
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            failure = next(name for prefix, name in FAILURES.items() if path.startswith(prefix))
            for status in ("400", "401", "403", "404", "413", "415", "422", "429"):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": f"#/components/schemas/{failure}"}, path
            assert "500" in operation["responses"], path
            assert operation["security"] == [{"apiKey": []}]
            assert operation["summary"]
            names = [each["name"] for each in operation["parameters"]]
            assert ("Idempotency-Key" in names) == (method != "get"), path
            assert ("409" in operation["responses"]) == (method != "get"), "only writes can conflict"
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def test_the_manage_images_put_is_described_in_both_encodings(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    operation = document["paths"]["/api/properties/{id}"]["put"]
    form, plain = (operation["requestBody"]["content"][type] for type in ("multipart/form-data", "application/json"))
    photos = form["schema"]["properties"].pop("images")
    assert (photos["maxItems"], photos["items"]["format"]) == (20, "binary")
    assert form["schema"]["properties"] == plain["schema"]["properties"]
    names = {"mainNewImageIndex", "newImageRotations", "imagesToDelete", "existingImageRotations", "imagesMeta"}
    assert names < set(plain["schema"]["properties"])
    assert names < set(form["encoding"]), "JSON in text fields"
    failed = operation["responses"]["500"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    said = {"success": False, "message": "Failed to update property"}
    schema = document["components"]["schemas"][failed]
    assert {name: field["const"] for name, field in schema["properties"].items()} == said
    assert schema["additionalProperties"] is False


def test_no_two_models_share_a_name(app: Flask) -> None:
    """The library would describe one dialect's responses by the other's model."""
    schemas = app.test_client().get("/api/openapi.json").json["components"]["schemas"]
    ours = [model for model in models(BaseModel) if model.__module__.startswith("portal.api.")]
    named = Counter(model.__name__ for model in ours if model.__name__ in schemas)
    assert len(named) > 20
    assert [name for name, count in named.items() if count > 1] == []


def models(base: type[BaseModel]) -> set[type[BaseModel]]:
    return {base}.union(*(models(each) for each in base.__subclasses__()))


def test_it_has_the_contracts_examples(app: Flask) -> None:
    schemas = app.test_client().get("/api/openapi.json").json["components"]["schemas"]
    assert schemas["PresignBody"]["examples"][0]["sizeBytes"] == 2048576
    assert schemas["PollAnswer"]["examples"][0]["data"]["completedAt"] == "2026-05-08T12:00:04.123Z"
    assert schemas["ReorderAnswer"]["examples"] == [{"ok": True}]
    assert schemas["SwitchBody"]["examples"] == [{"enableImagesCDN": True}]
    assert schemas["DefinitionData"]["examples"][0]["updatedAt"] == "2025-06-01T12:00:00.000Z"


def test_each_response_example_is_valid(app: Flask) -> None:
    """Except the contracts' own examples, whose ids are not UUIDs."""
    for model in (AccountData, ListingsAnswer, ListingImageData):
        (example,) = model.model_json_schema(by_alias=True)["examples"]
        assert json.loads(model.model_validate_json(json.dumps(example)).model_dump_json(by_alias=True)) == example


def test_the_webhook_events_are_listed(app: Flask) -> None:
    schemas = app.test_client().get("/api/openapi.json").json["components"]["schemas"]
    for body in ("CreateBody", "ChangeBody"):
        said = schemas[body]["properties"]["events"]["description"]
        assert all(f"`{event}`" in said for event in EVENTS), said


def test_the_page_loads_only_our_own_files_and_sets_no_cookie(app: Flask, alice: Person) -> None:
    for client in (app.test_client(), alice.browser()):
        page = client.get("/api/docs")
        assert page.status_code == 200
        assert "Set-Cookie" not in page.headers
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script>|<style|style=|\son\w+=|https?://", page.text)
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            with client.get(address) as file:
                assert file.status_code == 200


def test_vendored_files_match_their_checksums() -> None:
    said = (VENDOR / "VENDOR.txt").read_text()
    for path in VENDOR.glob("swagger-ui-*.[cj]s*"):
        assert path.name in said
        assert hashlib.sha256(path.read_bytes()).hexdigest() in said


ALLOWED = [
    ("", "DELETE, GET, HEAD, OPTIONS"),
    ("/presign", "OPTIONS, POST"),
    ("/reorder", "OPTIONS, PATCH"),
    ("/7c9e6679-7425-40de-944b-e07fc1f90ae7", "GET, HEAD, OPTIONS, PATCH"),
]


def test_options_lists_the_documented_methods(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for path, allowed in ALLOWED:
        with subtests.test(path=path, allowed=allowed):
            response = alice.api("OPTIONS", f"/api/v1/properties/{home.uuid}/images{path}")
            assert response.headers["Allow"] == allowed


def test_every_webhook_event_is_described_with_its_data(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    assert set(document["webhooks"]) == {*EVENTS, "webhook.test"}
    for event, item in document["webhooks"].items():
        schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"]["type"]["const"] == event
        data = document["components"]["schemas"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
        assert set(data["properties"]) == set(FIELDS.get(event, ["message"]))
