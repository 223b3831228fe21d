"""How the gaps of the Manage Property Images contract are settled (README, "Manage Property Images contract")."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from PIL import Image as Pillow

from portal.accounts.plans import PLANS
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.buckets import Buckets
from tests.contracts.manage import Manager, Photo, done, events, failed, smaller, stored
from tests.factories import Person
from tests.pixels.files import drawn, halves


def meta(*images: Any, **changes: Any) -> list[Any]:
    """Return imagesMeta in this order, without a main image unless `changes` set one."""
    return [image | {"orderIndex": n, "isMain": False} | changes for n, image in enumerate(images)]


def ids(data: Any) -> list[int]:
    return [image["id"] for image in data["imagesMeta"]]


def main_of(data: Any) -> int:
    (found,) = [image["id"] for image in data["imagesMeta"] if image["isMain"]]
    return int(found)


def corners(url: str) -> list[str]:
    """Return which of the colours of `halves` is top left and bottom right in the large variant."""
    image = stored(url)["lg"].convert("RGB")
    spots = [(2, 2), (image.width - 3, image.height - 3)]
    return ["red" if image.getpixel(spot)[0] > 128 else "blue" for spot in spots]  # type: ignore[index]


def test_json_and_form_requests_are_equivalent(manager: Manager) -> None:
    first, second, third = manager.add(*[factories.jpeg()] * 3)
    native = done(manager.put_json({"images": [], "imagesMeta": meta(third, second, first)}))
    assert ids(native) == [third["id"], second["id"], first["id"]]
    texts = done(manager.put_json({"imagesMeta": json.dumps(meta(first, second)), "imagesToDelete": "[]"}))
    assert ids(texts) == [first["id"], second["id"], third["id"]]
    form = done(manager.put(imagesMeta=json.dumps(meta(second))))
    assert ids(form) == [second["id"], first["id"], third["id"]]


@pytest.mark.parametrize("name", ["images", "images[]"])
def test_the_file_field_is_repeated_for_each_file(manager: Manager, name: str) -> None:
    parts = [(name, (f"{n}.jpg", factories.jpeg())) for n in range(2)]
    data = done(requests.put(manager.url, files=parts, headers=manager.headers, timeout=60))
    assert len(data["images"]) == 2


def test_deleted_images_make_room_for_uploads(manager: Manager) -> None:
    there = manager.add(*[factories.jpeg(64, 48)] * 20)
    assert manager.put(factories.jpeg()).status_code == 400
    data = done(manager.put(factories.jpeg(), imagesToDelete=str([there[0]["id"]])))
    assert ids(data)[:19] == [image["id"] for image in there[1:]]


def test_the_response_lists_all_images_with_new_ones_last_in_upload_order(manager: Manager) -> None:
    first, second = manager.add(factories.jpeg(300, 200), factories.jpeg(310, 200))
    photos = [factories.jpeg(width, 200) for width in (400, 410, 420)]
    data = done(manager.put(*photos, imagesMeta=json.dumps(meta(second))))
    assert ids(data)[:2] == [second["id"], first["id"]]
    assert [stored(url)["lg"].width for url in data["images"]] == [310, 300, 400, 410, 420]


@pytest.mark.parametrize(
    ("named", "new", "main"),
    [
        ([], None, "first"),  # the metadata clears every flag first
        ([], 1, "new"),
        ([2], None, "third"),
        ([2], 1, "third"),
        ([2, 1], None, "second"),  # of several, the lowest orderIndex
    ],
)
def test_the_main_image_is_named_by_metadata_else_by_upload_else_the_first(
    manager: Manager, named: list[int], new: int | None, main: str
) -> None:
    first, second, third = manager.add(*[factories.jpeg()] * 3)
    done(manager.put(imagesMeta=json.dumps(meta(first, second | {"isMain": True}, third))))
    entries = meta(first, second, third)
    for index in named:
        entries[index]["isMain"] = True
    fields = {"imagesMeta": json.dumps(entries)} | ({} if new is None else {"mainNewImageIndex": str(new)})
    data = done(manager.put(*[factories.jpeg()] * (2 if new else 0), **fields))
    assert (
        main_of(data)
        == {"first": ids(data)[0], "second": ids(data)[1], "third": ids(data)[2], "new": ids(data)[-1]}[main]
    )


def test_an_upload_without_a_choice_leaves_the_main_image(manager: Manager) -> None:
    first, second = manager.add(*[factories.jpeg()] * 2)
    done(manager.put(imagesMeta=json.dumps([meta(second)[0] | {"orderIndex": 1, "isMain": True}, meta(first)[0]])))
    assert main_of(done(manager.put(factories.jpeg()))) == second["id"]


def test_deleting_the_main_image_promotes_the_first(manager: Manager) -> None:
    first, second, _ = manager.add(*[factories.jpeg()] * 3)
    assert main_of(done(manager.put(imagesToDelete=str([first["id"]])))) == second["id"]


def test_the_metadata_url_is_compared_by_path_with_the_one_before_the_request(manager: Manager) -> None:
    (image,) = manager.add(factories.jpeg())
    turned = json.dumps({str(image["id"]): 1})
    after = done(manager.put(existingImageRotations=turned, imagesMeta=json.dumps(meta(image))))["imagesMeta"]
    assert after[0]["url"] != image["url"]
    failed(manager.put(imagesMeta=json.dumps(meta(image))))
    elsewhere = after[0]["url"].replace(manager.host, "https://cdn.example.com") + "?v=2#large"
    done(manager.put(imagesMeta=json.dumps(meta(after[0] | {"url": elsewhere}))))


def test_metadata_with_another_url_is_an_invalid_image(manager: Manager) -> None:
    first, second = manager.add(*[factories.jpeg()] * 2)
    odd = ["", "https://...", "http://[", "//", "cdn/properties", "/cdn/properties/1/x-lg.webp"]
    for wrong in (*odd, second["url"]):
        failed(manager.put(imagesMeta=json.dumps(meta(first | {"url": wrong}))))


def test_rotation_stores_new_objects_and_deletes_the_old(manager: Manager, buckets: Buckets) -> None:
    (image,) = manager.add(factories.jpeg())
    before = buckets.listing()
    (after,) = done(manager.put(existingImageRotations=json.dumps({str(image["id"]): 3})))["imagesMeta"]
    assert after["id"] == image["id"]
    assert requests.get(image["url"], timeout=30).status_code == 404
    kept = before & buckets.listing()
    assert {bucket for bucket, _ in kept} == {storage.uploads.name}, "the original stays, both variants are new"
    assert len(buckets.listing()) == 3


def test_four_quarter_rotations_restore_the_same_bytes(manager: Manager, photo: Photo) -> None:
    (image,) = manager.add(smaller(photo("j16_iphone4s_8mp_or6.jpg")))
    before = requests.get(image["url"], timeout=30).content
    seen = []
    for _ in range(4):
        data = done(manager.put(existingImageRotations=json.dumps({str(image["id"]): 1})))
        seen.append(requests.get(data["images"][0], timeout=30).content)
    assert [content == before for content in seen] == [False, False, False, True]


@pytest.mark.parametrize(("orientation", "upright"), [(1, ["red", "blue"]), (3, ["blue", "red"])])
def test_rotations_are_clockwise_and_applied_after_exif(manager: Manager, orientation: int, upright: list[str]) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    photo = drawn("JPEG", halves(640, 320), exif=exif)  # red on the left
    data = done(manager.put(*[photo] * 4, newImageRotations="[0,1,2,3]"))
    assert [stored(url)["lg"].size for url in data["images"]] == [(640, 320), (320, 640)] * 2
    turned = upright[::-1]
    assert [corners(url) for url in data["images"]] == [upright, upright, turned, turned]


def test_missing_rotations_are_0_and_surplus_ones_are_refused(manager: Manager) -> None:
    data = done(manager.put(*[factories.jpeg(640, 320)] * 2, newImageRotations="[1]"))
    assert [stored(url)["lg"].size for url in data["images"]] == [(320, 640), (640, 320)]
    assert manager.put(factories.jpeg(), newImageRotations="[0,1]").status_code == 400


def test_unknown_images_to_delete_are_skipped(manager: Manager) -> None:
    first, second = manager.add(*[factories.jpeg()] * 2)
    data = done(manager.put(imagesToDelete=json.dumps([987654321, 0, -1, 2**63, first["id"], first["id"]])))
    assert ids(data) == [second["id"]]


def test_rotating_or_arranging_a_deleted_image_is_an_invalid_image(manager: Manager) -> None:
    first, _ = there = manager.add(*[factories.jpeg()] * 2)
    gone = str([first["id"]])
    failed(manager.put(imagesToDelete=gone, existingImageRotations=json.dumps({str(first["id"]): 1})))
    failed(manager.put(imagesToDelete=gone, imagesMeta=json.dumps(meta(first))))
    assert manager.get()["imagesMeta"] == there


def test_gaps_and_duplicates_in_order_index_are_normalised(manager: Manager) -> None:
    first, second, third, fourth = manager.add(*[factories.jpeg()] * 4)
    entries = [
        entry | {"orderIndex": index} for entry, index in zip(meta(first, third, second), (7, 7, 3), strict=True)
    ]
    assert ids(done(manager.put(imagesMeta=json.dumps(entries)))) == [
        each["id"] for each in (second, first, third, fourth)
    ]


def test_a_failed_request_leaves_rows_and_objects_unchanged(manager: Manager, buckets: Buckets) -> None:
    first, second = there = manager.add(*[factories.jpeg()] * 2)
    before, told = buckets.listing(), events()
    failed(
        manager.put(
            *[factories.jpeg()] * 3,
            b"GIF89a, and no more of it",
            imagesToDelete=str([first["id"]]),
            existingImageRotations=json.dumps({str(second["id"]): 1}),
            name="Elm Cottage",
        )
    )
    assert (manager.get()["imagesMeta"], manager.get()["name"]) == (there, "Alder Cottage")
    assert (buckets.listing(), events()) == (before, told)


def test_variants_fit_2048_and_480_px_and_are_never_enlarged(manager: Manager, buckets: Buckets) -> None:
    large, small = factories.jpeg(4096, 1024), factories.jpeg(200, 100)
    data = done(manager.put(large, small))
    sizes = [{name: image.size for name, image in stored(url).items()} for url in data["images"]]
    assert sizes == [{"lg": (2048, 512), "thumb": (480, 120)}, {"lg": (200, 100), "thumb": (200, 100)}]
    kept = [storage.uploads.get(key) for bucket, key in buckets.listing() if bucket == storage.uploads.name]
    assert sorted(filter(None, kept)) == sorted([large, small]), "the originals, unchanged"


def test_other_fields_are_updated_and_unknown_ones_ignored(manager: Manager) -> None:
    form = done(manager.put(name="Elm", address="1 Lane", bedrooms="3", bathrooms="1.5", sleeps="", nothing="x"))
    wanted = {"name": "Elm", "address": "1 Lane", "bedrooms": 3, "bathrooms": 1.5, "sleeps": None, "externalRef": ""}
    assert {name: form[name] for name in wanted} == wanted
    assert list(form) == ["id", "images", "imagesMeta", *wanted]
    body = done(manager.put_json({"bedrooms": None, "bathrooms": 2, "externalRef": "E-1", "nothing": [{}]}))
    assert body == form | {"bedrooms": None, "bathrooms": 2, "externalRef": "E-1"}


def test_a_request_without_changes_emits_no_event(manager: Manager, buckets: Buckets) -> None:
    (image,) = manager.add(factories.jpeg())
    before, objects, told = manager.get(), buckets.listing(), events()
    version = manager.rows()[0].property.gallery_version
    for response in (
        manager.put_json({}),
        manager.put(nothing="x"),
        manager.put_json({"imagesToDelete": [987654321], "imagesMeta": [image], "name": before["name"]}),
        manager.put(existingImageRotations=json.dumps({str(image["id"]): 0})),
    ):
        assert done(response) == before
    assert (buckets.listing(), events()) == (objects, told)
    assert manager.rows()[0].property.gallery_version == version


def test_a_property_over_its_plans_limit_can_be_managed_but_not_extended(manager: Manager, alice: Person) -> None:
    """A smaller plan keeps the images that are there (README, "Count limits")."""
    change_plan(alice, "pro")
    there = manager.add(*[factories.jpeg(64, 48)] * 12) and manager.add(*[factories.jpeg(64, 48)] * 12)
    change_plan(alice, "free")
    assert len(there) > PLANS["free"].images_per_property
    turned = json.dumps({str(there[0]["id"]): 1})
    done(manager.put(existingImageRotations=turned, imagesMeta=json.dumps(meta(there[5])), name="Elm"))
    assert len(done(manager.put(imagesToDelete=str([there[0]["id"]])))["images"]) == 23
    assert manager.put(factories.jpeg()).status_code == 400


def change_plan(person: Person, name: str) -> None:
    with work():
        person.workspace.plan_name = name
