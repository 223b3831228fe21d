"""The product's web server, as production starts it."""

from __future__ import annotations

from uuid import uuid4

import pytest
import requests
from flask import Flask

from portal.asgi.bodies import FORM_PATHS
from portal.images.models import Property
from portal.infra import multipart
from tests.abuse import KINDS, abused
from tests.api.manage_images import PHOTO, form
from tests.factories import Person
from tests.server.wire import ask, get

WITHIN_S = 2.0


@pytest.mark.storm
def test_others_are_answered_during_each_kind_of_abuse(
    web: int, alice: Person, home: Property, subtests: pytest.Subtests
) -> None:
    cookie = signed_in(alice)
    for kind in KINDS:
        with subtests.test(kind), abused(web, kind):
            for _ in range(50):
                assert_it_answers(web, cookie, home)


def test_forms_and_their_limits(web: int, alice: Person, home: Property) -> None:
    """The front stores a form before the app reads it; what is too large is still refused in the contract's words."""
    url, headers = f"http://127.0.0.1:{web}/api/properties/{home.id}", {"Authorization": f"Bearer {alice.key}"}
    body, content_type = form("x", PHOTO, PHOTO + bytes(5 * 1024**2))
    response = requests.put(url, data=body, headers=headers | {"Content-Type": content_type}, timeout=30)
    assert (response.status_code, response.json()["success"]) == (200, True), response.text
    chunks = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    response = requests.put(url, data=chunks, headers=headers | {"Content-Type": content_type}, timeout=30)
    assert response.status_code == 200, response.text
    for size_bytes, type in (
        (multipart.max_bytes(20, 20 * 1024**2) + 1, content_type),
        (2 * 1024**2, "application/json"),
    ):
        request = (
            f"PUT /api/properties/{home.id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice.key}\r\n"
            f"Content-Type: {type}\r\nContent-Length: {size_bytes}\r\n\r\n"
        )
        answer = ask(web, request)
        assert (answer.status, answer.json["success"]) == (413, False)


def test_the_front_knows_the_forms_with_photos(app: Flask) -> None:
    """Others may not be as large, so a form whose route changes must change there too."""
    for endpoint, values in (("upload_form.upload", {"uuid": uuid4()}), ("manage_images.update", {"id": "1"})):
        path = app.url_map.bind("localhost").build(endpoint, values)
        assert FORM_PATHS.match(path), path


def signed_in(person: Person) -> str:
    """Return a signed-in browser's cookies."""
    return "; ".join(f"{cookie.key}={cookie.value}" for cookie in person.browser()._cookies.values())


def assert_it_answers(port: int, cookie: str, home: Property) -> None:
    assert get(port, "/healthz", within_s=WITHIN_S).json == {"status": "alive"}
    page = f"GET /properties/{home.uuid}/photos HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
    assert ask(port, page, within_s=WITHIN_S).status == 200
