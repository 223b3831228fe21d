"""Delivery: the best finished form for each browser, from the confirm on, and never the original."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image as Pillow
from sqlalchemy import func, select

from portal.config import settings
from portal.db import db
from portal.images import keys, properties, variants
from portal.images.models import FAILED, Image, Property, Rendition
from portal.images.variants import renditions
from portal.infra import jobs, storage
from portal.work import work
from tests import factories
from tests.buckets import Buckets

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
WEBP_ONLY = "image/webp,*/*"
ANYTHING = "*/*"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def path(image: Image, width: int | None = None) -> str:
    url = urlsplit(keys.image_url(image, width))
    return f"{url.path}?{url.query}"


def get(client: FlaskClient, url: str, accept: str = ANYTHING, **headers: str) -> Any:
    return client.get(url, headers={"Accept": accept, **headers})


def pixels(response: Any) -> Pillow.Image:
    assert response.status_code == 200, response.text
    return Pillow.open(BytesIO(response.data))


def test_an_image_is_delivered_from_its_confirm_on(
    home: Property, client: FlaskClient, subtests: pytest.Subtests
) -> None:
    image = factories.photo_in(home, factories.jpeg(1500, 1000))
    for accept, type in ((CHROME, "webp"), (WEBP_ONLY, "webp"), (ANYTHING, "jpeg")):
        with subtests.test(accept=accept):
            response = get(client, path(image, 640), accept)
            assert response.content_type == f"image/{type}"
            assert pixels(response).size == (640, 427)


def test_without_a_width_a_finished_image_is_delivered_as_its_large_variant(
    home: Property, client: FlaskClient, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home, factories.jpeg(3000, 2000))
    work_off()
    db.session.rollback()
    assert image.large_key
    assert get(client, path(image), WEBP_ONLY).data == storage.cdn.get(image.large_key)


def test_avif_is_delivered_once_a_worker_has_made_it(
    home: Property, client: FlaskClient, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home, factories.jpeg(1600, 1200))
    work_off()
    assert get(client, path(image, 640), CHROME).content_type == "image/webp"
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [f"make_avif-{image.id}-640"]
    work_off()
    response = get(client, path(image, 640), CHROME)
    assert response.content_type == "image/avif"
    assert pixels(response).size == (640, 480)
    assert get(client, path(image, 640), WEBP_ONLY).content_type == "image/webp"


def test_no_avif_is_made_of_a_damaged_variant(home: Property, client: FlaskClient, work_off: Callable[[], int]) -> None:
    image = factories.photo_in(home, factories.jpeg(1600, 1200))
    work_off()
    db.session.rollback()
    storage.cdn.delete(image.large_key or "")
    renditions.make_avif(image.id, 640)
    assert db.session.scalars(select(Rendition)).all() == []


def test_widths_are_rounded_to_fixed_steps_and_nothing_is_enlarged(
    home: Property, client: FlaskClient, subtests: pytest.Subtests
) -> None:
    image = factories.photo_in(home, factories.jpeg(1600, 1200))
    for asked, given in ((1, 320), (320, 320), (321, 480), (1000, 1280), (9999, 1600)):
        with subtests.test(asked=asked):
            assert pixels(get(client, path(image, asked))).width == given


def test_an_invalid_width_is_refused(home: Property, client: FlaskClient, subtests: pytest.Subtests) -> None:
    url = path(factories.photo_in(home)).rstrip("?")
    for width in ("0", "-5", "x", "1e3", "640px", "", "99999999999999999999", "٦"):
        with subtests.test(width=width):
            assert get(client, f"{url}?w={width}").status_code == 400


def test_a_rendition_is_made_once_and_kept(home: Property, client: FlaskClient, buckets: Buckets) -> None:
    image = factories.photo_in(home)
    first = get(client, path(image, 320), WEBP_ONLY)
    before = buckets.listing()
    again = get(client, path(image, 320), WEBP_ONLY)
    assert (first.data, first.headers["ETag"]) == (again.data, again.headers["ETag"])
    assert buckets.listing() == before
    assert db.session.scalar(select(func.count(Rendition.id))) == 1


def test_a_rendition_that_twenty_readers_request_simultaneously_is_made_once(
    home: Property, app: Flask, at_once: Callable[..., list[Any]]
) -> None:
    url = path(factories.photo_in(home, factories.jpeg(2400, 1600)), 960)
    answers = at_once(lambda: get(app.test_client(), url, WEBP_ONLY).data, *[()] * 20)
    assert len({bytes(answer) for answer in answers}) == 1
    assert db.session.scalar(select(func.count(Rendition.id))) == 1


def test_responses_are_immutable_vary_by_accept_and_are_harmless(home: Property, client: FlaskClient) -> None:
    response = get(client, path(factories.photo_in(home), 320))
    headers = response.headers
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Vary"] == "Accept"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "Set-Cookie" not in headers


def test_a_conditional_request_is_answered_without_bytes(home: Property, client: FlaskClient) -> None:
    url = path(factories.photo_in(home), 320)
    etag = get(client, url).headers["ETag"]
    response = get(client, url, **{"If-None-Match": etag})
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == etag
    assert get(client, url, **{"If-None-Match": '"other"'}).status_code == 200


def test_a_request_for_many_ranges_gets_the_whole_image(home: Property, client: FlaskClient) -> None:
    url = path(factories.photo_in(home), 320)
    response = get(client, url, Range="bytes=" + ",".join(f"{n}-{n}" for n in range(1000)))
    assert response.status_code == 200
    assert response.data == get(client, url).data


def test_what_is_delivered_is_never_the_original(home: Property, client: FlaskClient) -> None:
    data = factories.jpeg(300, 200, comment=b"<script>alert(1)</script>")
    image = factories.photo_in(home, data)
    for accept in (CHROME, ANYTHING):
        for width in (None, 320, 2048):
            answer = get(client, path(image, width), accept).data
            assert answer != data
            assert b"<script" not in answer


def test_unknown_and_deleted_images_are_404(home: Property, client: FlaskClient) -> None:
    url = path(factories.photo_in(home), 320)
    assert get(client, url).status_code == 200
    properties.delete(home)
    gone, unknown = get(client, url), get(client, "/images/a/b/c.jpg")
    assert (gone.status_code, gone.data) == (unknown.status_code, unknown.data) == (404, b"There is no such photo.\n")
    assert gone.headers["Cache-Control"] == "no-store"


def test_a_picture_replaced_during_its_request_is_not_missing(
    home: Property, client: FlaskClient, work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker replaces the variant and drops the old one after the row was read, before the bytes are."""
    image = factories.photo_in(home, factories.jpeg(300, 200))
    work_off()
    with work():
        image.variants = FAILED
    url, image_id, real = path(image), image.id, storage.Bucket.get

    def late(bucket: storage.Bucket, key: str) -> bytes | None:
        monkeypatch.setattr(storage.Bucket, "get", real)
        variants.try_again(db.session.get_one(Image, image_id))
        work_off()
        assert real(bucket, key) is None, "the old one is dropped"
        return None

    monkeypatch.setattr(storage.Bucket, "get", late)
    assert pixels(get(client, url, WEBP_ONLY)).size == (300, 200)


def test_an_original_has_no_address(home: Property, client: FlaskClient) -> None:
    image = factories.photo_in(home)
    assert get(client, f"/{image.original_key}").status_code == 404
    assert get(client, f"/cdn/{image.original_key}").status_code == 404


def test_an_unavailable_bucket_is_a_503_with_retry_after(home: Property, client: FlaskClient) -> None:
    url = path(factories.photo_in(home), 320)
    storage.connect(replace(settings(), s3_endpoint_url="http://127.0.0.1:9"))
    try:
        response = get(client, url)
    finally:
        storage.connect(settings())
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"


def test_the_next_best_rendition_is_served_while_one_is_being_made(
    home: Property, client: FlaskClient, work_off: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = factories.photo_in(home, factories.jpeg(2400, 1600))
    work_off()
    monkeypatch.setattr(renditions, "WAIT_FOR_RENDITION_S", 0.05)
    with renditions.single_flight((image.id, image.version, 640, "image/webp")):
        response = get(client, path(image, 640), WEBP_ONLY)
        assert pixels(response).width == 2048, "the large variant, since 640 is being made"
        assert get(client, path(image, 640), ANYTHING).content_type == "image/jpeg", (
            "other renditions are made independently"
        )
