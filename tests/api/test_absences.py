"""Every route of the API is walked: each failure has its dialect's form and says what is missing."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask

from portal.api import dialects
from portal.images.uploads import UploadedFile
from tests.api.world import ABSENT, ABSENT_NUMBER, MANAGED, ROUTES, World
from tests.factories import Person

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOTHING = cast(  # what the bodies of ROUTES refer to, without a row
    World,
    SimpleNamespace(
        arrived=UploadedFile("images/no/such/key.jpg", "image/jpeg", 9),
        photo=SimpleNamespace(uuid=ABSENT, id=int(ABSENT_NUMBER)),
    ),
)


@pytest.fixture(autouse=True)
def _as_often_as_needed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "10000 per minute")


def path_of(rule: str, provider: str) -> str:
    """Return a rule's path with ids that no row has."""
    named = rule.replace("<provider>", provider).replace("<id>", ABSENT_NUMBER if MANAGED in rule else ABSENT)
    return re.sub(r"<\w+>", ABSENT, named)


def code_of(path: str, body: dict[str, Any]) -> str | None:
    """Return the code of a failure; None at /api/properties/{id}, whose contract has no place for one."""
    if dialects.MANAGE_IMAGES.owns(path):
        assert set(body) in ({"success", "message", "data"}, {"success", "message"})
        assert body["success"] is False and body["message"]
        return None
    failure = body if dialects.IMAGE_CDN.owns(path) else body["error"]
    assert set(failure) == {"code", "message", "details"}
    assert re.fullmatch("[a-z][a-z_]+", failure["code"]), failure
    return str(failure["code"])


def test_every_failure_of_every_route_has_its_dialects_form(app: Flask, alice: Person) -> None:
    rules = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")}
    failures = 0
    for rule in rules:
        for method in METHODS:
            for body in ({}, {"json": {}}, {"json": []}):
                path = path_of(rule, "hostaway")
                response = alice.api(method, path, **body)
                if response.status_code >= 400:
                    assert response.is_json, (method, rule)
                    code_of(path, response.json)
                    failures += 1
    assert failures > 300


def test_the_error_code_names_what_is_missing(alice: Person, subtests: pytest.Subtests) -> None:
    """Plain `not_found` is for addresses without a route, so a client can tell a typo from a missing row."""
    for route in ROUTES:
        if "<" not in route or MANAGED in route:
            continue
        method, rule = route.split(" ")
        for provider in ("hostaway", "nosuch") if "<provider>" in rule else ("",):
            with subtests.test(route=route, provider=provider):
                path = path_of(rule, provider)
                response = alice.api(method, path, json=ROUTES[route](NOTHING))
                if response.status_code >= 400:
                    code = code_of(path, response.json) or ""
                    assert code.endswith("_not_found") or code == "fields", code
                    assert provider != "nosuch" or code in ("provider_not_found", "fields")
