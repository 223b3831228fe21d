"""The Manage Property Images contract and the Property Images API on one gallery (README, "All three contracts")."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import requests
from flask import Flask
from PIL import Image as Pillow

from portal.images import order
from portal.infra import storage
from tests import factories
from tests.contracts.manage import Manager, Photo, done, events, failed, stored
from tests.pixels.files import drawn, halves


def test_ids_are_numbers_here_and_uuids_in_the_property_images_api(manager: Manager) -> None:
    (image,) = manager.add(factories.jpeg())
    (row,) = manager.rows()
    data = manager.get()
    assert (data["id"], image["id"]) == (str(manager.home.id), row.id)
    assert str(row.uuid) not in json.dumps(data)
    assert str(manager.home.uuid) not in json.dumps(data)
    (seen,) = manager.listed_by_the_other_api()
    assert UUID(seen["id"]) == row.uuid
    by_uuid = f"{manager.host}/api/properties/{manager.home.uuid}"
    assert requests.put(by_uuid, json={}, headers=manager.headers, timeout=30).status_code == 404


def test_the_put_renders_variants_that_are_still_missing(manager: Manager) -> None:
    image = factories.photo_in(manager.home, factories.jpeg(900, 600))
    assert manager.get()["images"] == [], "no URL before its object is stored"
    told = events()
    (meta,) = done(manager.put_json({}))["imagesMeta"]
    assert (meta["id"], meta["orderIndex"], meta["isMain"]) == (image.id, 0, True)
    assert stored(meta["url"])["lg"].size == (900, 600)
    assert events() == told, "rendering variants emits no event"


def test_variants_rendered_by_the_put_are_not_rendered_again(
    manager: Manager, app: Flask, work_off: Callable[[], int]
) -> None:
    factories.photo_in(manager.home)
    before = done(manager.put_json({}))
    assert work_off() >= 1
    assert manager.get() == before


def test_an_unrendered_photo_can_be_rotated_arranged_and_deleted(manager: Manager, work_off: Callable[[], int]) -> None:
    first, second, third = (factories.photo_in(manager.home, factories.jpeg(640, 320)) for _ in range(3))
    url = manager.listed_by_the_other_api()[1]["url"]
    body = {
        "imagesToDelete": [third.id],
        "existingImageRotations": {str(first.id): 1},
        "imagesMeta": [{"id": second.id, "url": url, "orderIndex": 0, "isMain": True}],
    }
    data = done(manager.put_json(body))
    assert [image["id"] for image in data["imagesMeta"]] == [second.id, first.id]
    assert [stored(url)["lg"].size for url in data["images"]] == [(640, 320), (320, 640)]
    work_off()
    assert manager.get() == data


def test_an_uploaded_photo_is_listed_and_served_by_the_property_images_api(manager: Manager) -> None:
    manager.add(factories.jpeg(640, 320), factories.jpeg(320, 640))
    seen = manager.listed_by_the_other_api()
    assert [(image["order"], image["altText"]) for image in seen] == [(0, None), (1, None)]
    for image, size in zip(seen, [(640, 320), (320, 640)], strict=True):
        shown = requests.get(image["url"], timeout=60)
        assert shown.status_code == 200
        assert Pillow.open(BytesIO(shown.content)).size == size


def test_a_rotated_photo_has_a_new_url_in_the_property_images_api(manager: Manager) -> None:
    (image,) = manager.add(factories.jpeg(640, 320))
    (before,) = manager.listed_by_the_other_api()
    requests.get(f"{before['url']}?w=320", timeout=60)
    done(manager.put_json({"existingImageRotations": {str(image["id"]): 1}}))
    (after,) = manager.listed_by_the_other_api()
    assert (after["id"], after["url"] == before["url"]) == (before["id"], False)
    for query in ("", "?w=320"):
        shown = requests.get(after["url"] + query, timeout=60)
        width, height = Pillow.open(BytesIO(shown.content)).size
        assert (width, height) == (320, 640)


def test_both_apis_share_one_order_and_one_main_image(manager: Manager) -> None:
    first, second, third = manager.add(*[factories.jpeg()] * 3)
    entries = [third | {"orderIndex": 0, "isMain": False}, first | {"orderIndex": 1, "isMain": True}]
    data = done(manager.put_json({"imagesMeta": entries}))
    uuids = {row.id: str(row.uuid) for row in manager.rows()}
    assert [image["id"] for image in manager.listed_by_the_other_api()] == [
        uuids[each["id"]] for each in data["imagesMeta"]
    ]
    order.reorder(manager.home, [uuids[second["id"]]])
    seen = [(image["id"], image["isMain"]) for image in manager.get()["imagesMeta"]]
    assert seen == [(second["id"], False), (third["id"], False), (first["id"], True)]
    assert [image["id"] for image in manager.listed_by_the_other_api()] == [uuids[number] for number, _ in seen]


def test_each_contract_has_its_own_key_layout_and_bucket(manager: Manager) -> None:
    (image,) = manager.add(factories.jpeg())
    (row,) = manager.rows()
    workspace = manager.person.workspace.uuid
    assert row.key.startswith(f"images/{workspace}/{manager.home.uuid}/")
    assert row.original_key.startswith(f"images/{workspace}/{manager.home.uuid}/")
    assert (row.large_key or "").startswith(f"properties/{manager.home.id}/")
    assert image["url"] == f"{manager.host}/cdn/{row.large_key}"
    assert storage.uploads.head(row.original_key)
    assert not storage.cdn.head(row.original_key)


def test_any_common_format_is_accepted(manager: Manager) -> None:
    formats = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"]
    photos = [drawn(format_, halves(320, 160)) for format_ in formats]
    urls = done(manager.put(*photos, newImageRotations=str([1] * len(formats))))["images"]
    for format_, url, seen in zip(formats, urls, manager.listed_by_the_other_api(), strict=True):
        large = stored(url)["lg"].convert("RGB")
        assert large.size == (160, 320), format_
        top, bottom = large.getpixel((80, 10)), large.getpixel((80, 310))
        assert top[0] > 190 > 60 > top[2], f"{format_}: red, which was on the left"  # type: ignore[index,operator]
        assert bottom[2] > 190 > 60 > bottom[0], format_  # type: ignore[index,operator]
        assert requests.get(seen["url"], timeout=60).status_code == 200, format_


def test_heic_is_accepted(manager: Manager, photo: Photo) -> None:
    (url,) = done(manager.put(photo("h2_iphone_12mp_gps.heic")))["images"]
    large = stored(url)["lg"]
    assert max(large.size) > 1700


def test_the_first_frame_of_an_animation_is_used(manager: Manager) -> None:
    red, blue = (Pillow.new("RGB", (64, 64), colour) for colour in ((220, 30, 30), (30, 30, 220)))
    for format_ in ("GIF", "WEBP"):
        file = BytesIO()
        red.save(file, format_, save_all=True, append_images=[blue] * 3)
        url = done(manager.put(file.getvalue()))["images"][-1]
        colour = stored(url)["lg"].convert("RGB").getpixel((32, 32))
        assert colour[0] > 190 > 60 > colour[2]  # type: ignore[index,operator]


def test_svg_text_and_truncated_photos_fail_the_upload(manager: Manager) -> None:
    for data in (
        b"",
        b"just text",
        b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"\xff\xd8\xff",
        factories.jpeg()[:2000],
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42",
    ):
        failed(manager.put(factories.jpeg(), data))
        assert manager.get()["images"] == [], data[:20]


def test_a_request_and_a_property_hold_at_most_twenty_images(manager: Manager) -> None:
    small = factories.jpeg(64, 48)
    there = manager.add(*[small] * 20)
    refused = manager.put(small)
    assert (refused.status_code, list(refused.json())) == (400, ["success", "message", "data"])
    assert "20" in refused.json()["message"]
    two = json.dumps([image["id"] for image in there[:2]])
    assert manager.put(*[small] * 3, imagesToDelete=two).status_code == 400
    assert len(done(manager.put(*[small] * 2, imagesToDelete=two))["images"]) == 20
    elsewhere = manager.put(*[small] * 21)
    assert (elsewhere.status_code, "20" in elsewhere.json()["message"]) == (400, True)


def test_each_request_that_changes_something_emits_one_event(manager: Manager) -> None:
    first, second = manager.add(*[factories.jpeg()] * 2)
    assert events() == 1
    turned = {str(first["id"]): 1, str(second["id"]): 2}
    meta: list[Any] = [first | {"orderIndex": 1}, second | {"orderIndex": 0}]
    done(
        manager.put(factories.jpeg(), existingImageRotations=json.dumps(turned), imagesMeta=json.dumps(meta), name="E")
    )
    assert events() == 2
    done(manager.put_json({"name": "Elm"}))
    assert events() == 3
    done(manager.put_json({"imagesToDelete": [first["id"]]}))
    assert events() == 4
    done(manager.put_json({"name": "Elm"}))
    failed(manager.put_json({"existingImageRotations": {str(first["id"]): 1}}))
    assert manager.put_json({"bedrooms": -1}).status_code == 400
    assert events() == 4


def test_every_returned_url_is_served_immediately(manager: Manager, photo: Photo) -> None:
    data = done(manager.put(photo("w1_real_1mp_lossless.webp"), factories.jpeg(2400, 1800), drawn("PNG")))
    assert [requests.get(url, timeout=30).status_code for url in data["images"]] == [200, 200, 200]
    for url in data["images"]:
        assert requests.get(url.replace("-lg.webp", "-thumb.webp"), timeout=30).status_code == 200
