"""The shortcut answers exactly what the views would, from the cache, and passes on whatever it can't answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import create_engine, literal_column, select, text

from portal import inventory
from portal.config import settings
from portal.db import db
from portal.delivery.shortcut import Shortcut
from portal.images import deletion, keys
from portal.images.models import FAILED, PENDING, READY, Image, Property, Rendition
from portal.images.variants import renditions
from portal.infra import storage
from portal.infra.disk_cache import cache
from portal.infra.quick_select import QuickSelect
from portal.inventory import StoredObject
from portal.listings import removal
from portal.listings.catalogue import COPIED
from portal.work import work
from tests import factories
from tests.conftest import on_both, on_each
from tests.factories import Person
from tests.listings import rows, stays

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
WEBP_ONLY = "image/webp,*/*"
ANYTHING = "*/*"
PASSED_ON = 599
FORMS = ['W/"{}"', *(pytest.param(form, marks=pytest.mark.slow) for form in ('"{}"', '"other", W/"{}"', "*"))]


@pytest.fixture
def shortcut(app: Flask) -> Shortcut:
    assert isinstance(app.wsgi_app, Shortcut)
    return app.wsgi_app


@pytest.fixture
def get(app: Flask, shortcut: Shortcut, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask the shortcut alone: what it passes on is answered with PASSED_ON."""

    def get(url: str, accept: str = ANYTHING, method: str = "GET", **headers: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(shortcut, "_behind", _pass_on)
            return app.test_client().open(url, method=method, headers={"Accept": accept, **headers})

    return get


@pytest.fixture
def view(app: Flask, shortcut: Shortcut, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask the views alone."""

    def get(url: str, accept: str = ANYTHING, **headers: str) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(app, "wsgi_app", shortcut._behind)
            return app.test_client().get(url, headers={"Accept": accept, **headers})

    return get


def _pass_on(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{PASSED_ON} PASSED ON", [])
    return []


@pytest.fixture
def image(home: Property, work_off: Callable[[], int], app: Flask) -> Image:
    """A finished photo with every form of two widths, all in the cache."""
    image = factories.photo_in(home, factories.jpeg(700, 400))
    for accept, width in product((WEBP_ONLY, ANYTHING), (640, 2048)):
        app.test_client().get(path(image, width), headers={"Accept": accept})  # of the original, so far
    work_off()
    for width in (640, 2048):
        app.test_client().get(path(image, width), headers={"Accept": ANYTHING})
        app.test_client().get(path(image, width), headers={"Accept": WEBP_ONLY})
        renditions.make_avif(image.id, width)
    fill_the_cache()
    db.session.rollback()
    return image


def path(image: Image, width: int | None = None) -> str:
    url = urlsplit(keys.image_url(image, width))
    return f"{url.path}?{url.query}" if width else url.path


def fill_the_cache() -> None:
    for stored in storage.cdn.list():
        data = storage.cdn.get(stored.key) or b""
        cache.put(inventory.digest(data), data)


def compared(response: Any) -> tuple[int, dict[str, str], bytes]:
    return response.status_code, dict(response.headers), response.data


@on_both
def test_it_answers_as_the_views_do(
    image: Image, get: Callable[..., Any], view: Callable[..., Any], subtests: pytest.Subtests
) -> None:
    for state, accept, width in product(
        (READY, FAILED, PENDING), (CHROME, WEBP_ONLY, ANYTHING), (None, 500, 640, 2048)
    ):
        with subtests.test(state=state, accept=accept, width=width):
            with work():
                image.variants = state
                image.pending_since = None
            url = path(image, width)
            response = get(url, accept)
            assert response.status_code == 200
            assert compared(response) == compared(view(url, accept))


@on_each
def test_it_answers_at_cdn_addresses_as_the_views_do(
    image: Image, get: Callable[..., Any], view: Callable[..., Any], subtests: pytest.Subtests
) -> None:
    renditions = db.session.scalars(select(Rendition.key)).all()
    for key in (image.large_key, image.thumb_key, *renditions):
        with subtests.test(key=key):
            response = get(f"/cdn/{key}?whatever=1")
            assert response.status_code == 200
            assert compared(response) == compared(view(f"/cdn/{key}"))


@pytest.mark.parametrize("form", FORMS)
def test_a_conditional_request_is_answered_as_by_the_views(
    image: Image, get: Callable[..., Any], view: Callable[..., Any], form: str
) -> None:
    for url in (path(image, 640), f"/cdn/{image.large_key}"):
        etag = get(url).headers["ETag"].strip('"')
        response = get(url, **{"If-None-Match": form.format(etag)})
        assert response.status_code == 304
        assert compared(response) == compared(view(url, **{"If-None-Match": form.format(etag)}))
        assert get(url, **{"If-None-Match": '"other"'}).status_code == 200


@on_each
def test_a_deleted_photo_is_gone_immediately(image: Image, home: Property, app: Flask, get: Callable[..., Any]) -> None:
    urls = [path(image, 640), f"/cdn/{image.large_key}", f"/cdn/{image.thumb_key}"]
    assert {get(url).status_code for url in urls} == {200}
    deletion.delete(home, [str(image.uuid)])
    assert {get(url).status_code for url in urls} == {PASSED_ON}
    assert {app.test_client().get(url).status_code for url in urls} == {404}


@on_both
def test_a_copy_of_a_listing_is_answered_until_its_account_is_removed(
    alice: Person, get: Callable[..., Any], view: Callable[..., Any]
) -> None:
    account = rows.account_of(alice.workspace)
    listing = rows.listing_of(account, COPIED)
    old, new = (stays.copied(listing, factories.jpeg(width)).key or "" for width in (640, 320))
    fill_the_cache()
    response = get(f"/cdn/{new}")
    assert (response.status_code, response.content_type) == (200, "image/jpeg")
    assert compared(response) == compared(view(f"/cdn/{new}"))
    assert get(f"/cdn/{old}").status_code == PASSED_ON, "no row refers to it"
    removal.remove_account(account)
    assert get(f"/cdn/{new}").status_code == PASSED_ON
    assert view(f"/cdn/{new}").status_code == 404


def test_a_replaced_object_is_answered_under_its_old_address(
    image: Image, get: Callable[..., Any], view: Callable[..., Any]
) -> None:
    with work():
        inventory.replace(storage.cdn, image.thumb_key or "", image.large_key or "")
    url = f"/cdn/{image.thumb_key}"
    response = get(url)
    assert response.status_code == 200
    assert compared(response) == compared(view(url))


def test_the_bucket_is_not_needed(image: Image, get: Callable[..., Any]) -> None:
    storage.connect(replace(settings(), s3_endpoint_url="http://127.0.0.1:9"))
    try:
        assert get(path(image, 640), CHROME).status_code == 200
    finally:
        storage.connect(settings())


def test_a_cache_removed_while_running_is_filled_again(image: Image, app: Flask, get: Callable[..., Any]) -> None:
    shutil.rmtree(settings().data_dir / "cache")
    url = path(image, 640)
    assert get(url).status_code == PASSED_ON
    assert app.test_client().get(url).status_code == 200
    assert get(url).status_code == 200


def test_the_rest_is_passed_on(image: Image, get: Callable[..., Any], subtests: pytest.Subtests) -> None:
    url = path(image, 640)
    assert get(url).status_code == 200
    for other in ("?w=0", "?w=x", "?w=100001", "?w=640&w=320", "?w=640&v=1", "?x", "?w=٦", "x", "/x"):
        with subtests.test(url=other):
            assert get(path(image) + other).status_code == PASSED_ON
    for method in ("HEAD", "POST", "OPTIONS"):
        assert get(url, method=method).status_code == PASSED_ON
    assert get(url, Range="bytes=0-9").status_code == PASSED_ON
    for other in ("/images/a/b/c.jpg", "/images/", "/cdn/", "/cdn/x", f"/cdn/{image.original_key}", "/healthz"):
        assert get(other).status_code == PASSED_ON


def test_a_form_that_is_not_made_yet_is_passed_on(image: Image, get: Callable[..., Any]) -> None:
    for accept in (CHROME, WEBP_ONLY, ANYTHING):
        assert get(path(image, 320), accept).status_code == PASSED_ON
    with work():
        row = db.session.scalar(select(Rendition).where(Rendition.type == renditions.AVIF, Rendition.width == 640))
        db.session.delete(row)
    assert get(path(image, 640), CHROME).status_code == PASSED_ON, "the view has the AVIF made, and answers for now"


def test_an_object_that_is_not_cached_or_has_no_hash_yet_is_passed_on(image: Image, get: Callable[..., Any]) -> None:
    with work():
        for stored in db.session.scalars(select(StoredObject)):
            stored.sha256 = "0" * 64 if stored.type == renditions.JPEG else None
    for url in (path(image, 640), path(image, 2048), f"/cdn/{image.large_key}"):
        for accept in (CHROME, WEBP_ONLY, ANYTHING):
            assert get(url, accept).status_code == PASSED_ON


@on_each
def test_what_the_database_refuses_is_passed_on(
    image: Image, shortcut: Shortcut, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        away = create_engine(db.engine.url.set(database="/nowhere/none"))
        for query in (
            QuickSelect(db.engine, select(literal_column("no_such_column"))),
            QuickSelect(away, select(Image)),
        ):
            patch.setattr(shortcut, "_forms", query)
            assert get(path(image, 640)).status_code == PASSED_ON
    assert get(path(image, 640)).status_code == 200


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_lost_connection_is_replaced(image: Image, app: Flask, get: Callable[..., Any]) -> None:
    """And every connection goes back to the pool with transactions on."""
    url = path(image, 640)
    assert get(url).status_code == 200
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid() AND datname IS NOT NULL"
    )
    with db.engine.begin() as connection:
        connection.execute(text(others))
    assert app.test_client().get(url).status_code == 200
    assert get(url).status_code == 200
    with db.engine.connect() as connection:
        assert not connection.connection.dbapi_connection.autocommit  # type: ignore[union-attr]
