"""/cdn: variants and copies of listings' pictures, for as long as a row names them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.db import db
from portal.images import deletion, keys
from portal.images.models import Property
from portal.infra import storage
from portal.inventory import COPY
from portal.listings import catalogue
from portal.pixels.types import type_of
from portal.work import work
from tests import factories


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def get(client: FlaskClient, url: str, **headers: str) -> Any:
    return client.get(url, headers=headers)


def test_a_variant_is_served_at_its_cdn_address(
    home: Property, client: FlaskClient, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home)
    work_off()
    db.session.rollback()
    assert image.large_key
    response = get(client, urlsplit(keys.cdn_url(image.large_key)).path + "?response-content-type=text/html")
    assert response.content_type == "image/webp"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.data == storage.cdn.get(image.large_key)


def test_a_deleted_photo_is_404_whatever_the_bucket_still_holds(
    home: Property, client: FlaskClient, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home)
    work_off()
    db.session.rollback()
    key, data = image.large_key or "", storage.cdn.get(image.large_key or "") or b""
    deletion.delete(home, [str(image.uuid)])
    storage.cdn.put(key, data, "image/webp")  # as if the drop had failed
    assert get(client, urlsplit(keys.cdn_url(key)).path).status_code == 404


def test_only_keys_that_the_portal_makes_are_looked_up(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for key in ["../secret", "properties/1/x-lg.webp", "derived/..%2f..%2fx", "images/a/b.jpg", "%00"]:
        with subtests.test(key=key):
            assert get(client, f"/cdn/{key}").status_code == 404


LISTING = "5f0f3ac1-93f1-4d4a-9e4b-0a4f2f6a7c11/0b0bb9ae-34a5-4c6f-8f0a-d8d4e8d7a0b2"
HASH = "9e107d9d372bb6826bd81d3542a419d6"


@pytest.mark.parametrize("name", [f"thumbnail_{HASH}.jpg", f"gallery/0_{HASH}.png", f"gallery/317_{HASH}.heic"])
def test_a_listings_picture_is_served_while_a_row_names_it(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    key, named = f"{LISTING}/{name}", set[str]()
    monkeypatch.setattr(catalogue, "is_referenced", named.__contains__)
    type = type_of(key)
    with work() as w:
        w.put(storage.cdn, key, b"the picture", type, COPY)
    assert get(client, f"/cdn/{key}").status_code == 404
    named.add(key)
    response = get(client, f"/cdn/{key}")
    assert (response.status_code, response.data, response.content_type) == (200, b"the picture", type)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in response.headers["Cache-Control"]
    named.clear()
    assert get(client, f"/cdn/{key}", **{"If-None-Match": response.headers["ETag"]}).status_code == 404


NO_NAMES = [
    f"{LISTING}/thumbnail_{HASH}.svg",
    f"{LISTING}/thumbnail_{HASH}.jpeg",
    f"{LISTING}/gallery/{HASH}.jpg",
    f"{LISTING}/gallery/-1_{HASH}.jpg",
    f"{LISTING}/gallery/٣_{HASH}.jpg",
    f"{LISTING}/gallery/0_{HASH[1:]}.jpg",
    f"x/{LISTING}/thumbnail_{HASH}.jpg",
    f"{LISTING}/thumbnail_{HASH}.jpg/x",
]


def test_no_other_name_is_a_listings_picture(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(catalogue, "is_referenced", lambda key: True)
    for key in NO_NAMES:
        with subtests.test(key=key):
            with work() as w:
                w.put(storage.cdn, key, b"the picture", "image/jpeg", COPY)
            assert get(client, f"/cdn/{key}").status_code == 404
