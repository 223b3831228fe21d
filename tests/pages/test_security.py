"""The headers of every page, and which requests count as the reader's intention."""

from __future__ import annotations

import pytest
from flask import Flask

from portal import config
from portal.images.models import Property
from portal.infra import storage
from tests.factories import Person, photo_in
from tests.pages import routes
from tests.pages.routes import Things

SAME, NONE = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}
OTHERS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "OURS"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "OURS.evil.example"},
    {"Origin": "https://evil.example", "Host": "evil.example"},
    {"Origin": "http://localhost:1"},
]


def ours(headers: dict[str, str]) -> dict[str, str]:
    origin = config.settings().page_origins[0]
    return {name: value.replace("OURS", origin) for name, value in headers.items()}


def test_another_sites_page_changes_nothing(
    app: Flask, alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    things = Things.of(alice, home, photo_in(home))
    browser = alice.browser()
    browser.environ_base.pop("HTTP_SEC_FETCH_SITE")
    unsafe = [route for route in routes.of(app) if route.method not in ("GET", "HEAD", "OPTIONS")]
    assert len(unsafe) > 15
    for headers in OTHERS:
        with subtests.test(headers=headers):
            for route in unsafe:
                answer = browser.open(things.path(route.rule), method=route.method, headers=ours(headers))
                assert answer.status_code == 403, str(route)
                assert "nothing was changed" in answer.text


def test_our_forms_and_programs_pass(app: Flask, alice: Person, subtests: pytest.Subtests) -> None:
    browser = alice.browser()
    browser.environ_base.pop("HTTP_SEC_FETCH_SITE")
    for headers in (SAME, NONE, {"Origin": "OURS"}, {**SAME, "Origin": "null"}, {}):
        with subtests.test(headers=headers):
            answer = browser.post("/properties/new", data={"name": "New"}, headers=ours(headers))
            assert answer.status_code == 303


def test_reading_is_open_to_links_from_anywhere(alice: Person) -> None:
    answer = alice.browser().get("/properties", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200


def test_the_api_ignores_the_session(app: Flask, alice: Person, home: Property) -> None:
    browser = alice.browser()
    assert browser.get("/api/v1/properties").status_code == 401
    assert browser.post("/api/v1/properties", json={"name": "New"}).status_code == 401


def test_every_page_has_security_headers(app: Flask, alice: Person, home: Property) -> None:
    things = Things.of(alice, home, photo_in(home))
    browser = alice.browser()
    paths = [things.path(route.rule) for route in routes.of(app) if route.method == "GET" and not route.is_dashboard]
    for path in [*paths, "/nowhere", "/properties/new?after=x"]:
        headers = browser.get(path).headers
        assert headers["Cache-Control"] == "private, no-store", path
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", path
        assert "camera=()" in headers["Permissions-Policy"], path
        assert "Strict-Transport-Security" not in headers, path  # only on HTTPS
        assert "unsafe-eval" not in headers["Content-Security-Policy"], path


def test_the_policy_allows_our_files_and_nothing_inline(alice: Person) -> None:
    said = alice.browser().get("/properties").headers["Content-Security-Policy"]
    policy = {part.split()[0]: part.split()[1:] for part in said.split(";")}
    assert policy["script-src"] == policy["style-src"] == policy["default-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == ["'none'"]
    assert policy["connect-src"] == ["'self'", storage.uploads.public_origin]
    assert config.settings().images_url in policy["img-src"]
    assert policy["form-action"] == ["'self'"]


def test_a_cacheable_response_sets_no_cookie(app: Flask, alice: Person) -> None:
    browser = alice.browser()
    for path in ("/static/favicon.svg", "/healthz", "/properties"):
        with browser.get(path) as answer:
            assert "Set-Cookie" not in answer.headers, path


def test_a_nul_is_a_bad_request(alice: Person) -> None:
    browser = alice.browser()
    assert browser.get("/properties?q=%00").status_code == 400
    assert browser.post("/properties/new", data={"name": "a\0b"}).status_code == 400
