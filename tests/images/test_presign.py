"""Presign: a key and a URL for a file that could be confirmed; others are refused before a byte is sent."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal.db import db, now
from portal.errors import Invalid, OverQuota, TooMany
from portal.images import uploads
from portal.images.models import Property, Upload
from portal.images.uploads import MAX_SIZE_BYTES, AnnouncedFile
from portal.work import work
from tests import factories


def reserve(home: Property, name: str = "a.jpg", type: str = "image/jpeg", size: int = 1000) -> Upload:
    (upload,) = uploads.presign(home, [AnnouncedFile(name, type, size)])
    return upload


def count() -> int:
    return db.session.scalar(select(func.count(Upload.id))) or 0


def test_a_presigned_key_is_under_its_workspace_and_property(home: Property) -> None:
    upload = reserve(home)
    assert upload.key.startswith(f"images/{home.workspace.uuid}/{home.uuid}/")
    assert upload.key.endswith(".jpg")


@pytest.mark.parametrize(
    ("name", "type", "extension"),
    [
        ("a.JPEG", "image/jpeg", "jpeg"),
        ("a.png", "image/jpeg", "jpg"),
        ("noextension", "image/png", "png"),
        ("x.jpg.html", "image/jpeg", "jpg"),
        ("../../etc/passwd", "image/webp", "webp"),
        ("photo\u202egpj.exe", "image/heic", "heic"),
        ("con.jpg", "image/jpeg", "jpg"),
        ("a.heif", "image/heic", "heif"),
    ],
)
def test_a_key_is_a_uuid_and_an_extension_that_fits_the_type(
    home: Property, name: str, type: str, extension: str
) -> None:
    stem, _, ending = reserve(home, name, type).key.rpartition("/")[2].partition(".")
    assert ending == extension
    assert len(stem) == 36


@pytest.mark.parametrize(
    ("code", "file"),
    [
        ("content_type_not_allowed", AnnouncedFile("a.gif", "image/gif", 10)),
        ("content_type_not_allowed", AnnouncedFile("a.svg", "image/svg+xml", 10)),
        ("content_type_not_allowed", AnnouncedFile("a.jpg", "image/jpeg; charset=utf-8", 10)),
        ("too_large", AnnouncedFile("a.jpg", "image/jpeg", MAX_SIZE_BYTES + 1)),
        ("empty", AnnouncedFile("a.jpg", "image/jpeg", 0)),
        ("empty", AnnouncedFile("a.jpg", "image/jpeg", -1)),
        ("file_name", AnnouncedFile("", "image/jpeg", 10)),
        ("file_name", AnnouncedFile("a" * 256, "image/jpeg", 10)),
    ],
)
def test_a_file_that_could_never_be_confirmed_is_refused(home: Property, code: str, file: AnnouncedFile) -> None:
    with pytest.raises(Invalid) as refused:
        uploads.presign(home, [AnnouncedFile("good.jpg", "image/jpeg", 10), file])
    assert (refused.value.code, refused.value.details) == (code, {"index": 1})
    assert count() == 0, "all or none"


def test_ten_megabytes_are_allowed_to_the_byte(home: Property) -> None:
    assert reserve(home, size=MAX_SIZE_BYTES).size_bytes == 10_485_760


def test_a_file_over_quota_is_refused_and_uses_up_no_key(home: Property) -> None:
    with pytest.raises(OverQuota) as refused:
        uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", 10)] * 21)
    assert refused.value.details == {"limit": "imagesPerProperty", "max": 20, "used": 0, "requested": 21}
    assert count() == 0


def test_unused_presigns_are_bounded_and_use_no_quota(home: Property) -> None:
    for _ in range(3):
        uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", 10)] * 20)
    with pytest.raises(TooMany):
        reserve(home)
    with work():
        db.session.execute(update(Upload).values(expires_at=now() - timedelta(seconds=1)))
    assert reserve(home).key, "expired presigns no longer count"


def test_parallel_presigns_stay_within_the_bound(home: Property, at_once: Callable[..., list[Any]]) -> None:
    def twelve(property_id: int) -> int:
        mine = db.session.get_one(Property, property_id)
        return len(uploads.presign(mine, [AnnouncedFile("a.jpg", "image/jpeg", 10)] * 12))

    answers = at_once(twelve, *[(home.id,)] * 10)
    assert answers.count(12) == 5
    assert sum(isinstance(answer, TooMany) for answer in answers) == 5
    assert count() == 60


def test_a_url_is_signed_for_type_and_length(home: Property) -> None:
    data = factories.jpeg(64, 64)
    upload = reserve(home, size=len(data))
    assert factories.put(uploads.url_of(upload), data, "image/jpeg").status_code == 200
    assert factories.put(uploads.url_of(upload), data + b"x", "image/jpeg").status_code == 403
