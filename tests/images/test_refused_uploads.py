"""A file that is refused at its confirm: its upload ends, and its place is free."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from portal.db import db
from portal.errors import Invalid, StorageFailed
from portal.images import retention, uploads, usage
from portal.images.models import Property, Upload
from portal.images.uploads import AnnouncedFile, UploadedFile, cancel, presigning
from portal.infra import storage
from portal.pixels import jpeg
from tests import factories
from tests.buckets import Buckets, collect_orphans
from tests.conftest import on_both
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.images.test_confirm import confirm, refusal

NO_PHOTO = b"not a photo at all"


def places(home: Property) -> int:
    db.session.rollback()
    return usage.outstanding(home.workspace)[0]


@on_both
def test_sixty_refused_uploads_leave_room_for_a_photo(home: Property, buckets: Buckets) -> None:
    for _ in range(3):
        granted = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", len(NO_PHOTO))] * 20)
        for upload in granted:
            storage.uploads.put(upload.key, NO_PHOTO, "image/jpeg")
            assert refusal(home, UploadedFile(upload.key, "image/jpeg", len(NO_PHOTO))) == "not_an_image"
    assert (places(home), buckets.listing()) == (0, set())
    assert confirm(home, factories.uploaded(home, factories.jpeg())).position == 0


def test_a_file_of_another_type_or_size_frees_its_place_too(home: Property) -> None:
    refusal(home, factories.uploaded(home, factories.jpeg(), type="image/png"))
    (upload,) = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", 10)])
    storage.uploads.put(upload.key, factories.jpeg(), "image/jpeg")
    refusal(home, UploadedFile(upload.key, "image/jpeg", 10))
    assert places(home) == 0


def test_a_repeated_confirm_is_refused_for_the_same_reason_whatever_is_put_later(
    home: Property, buckets: Buckets
) -> None:
    photo = factories.jpeg()
    (upload,) = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", len(photo))])
    url, arrived = uploads.url_of(upload), UploadedFile(upload.key, "image/jpeg", len(photo))
    factories.put(url, bytes(len(photo)), "image/jpeg")
    with pytest.raises(Invalid) as first:
        uploads.confirm(home, [arrived])
    factories.put(url, photo, "image/jpeg")
    with pytest.raises(Invalid) as second:
        uploads.confirm(home, [arrived])
    assert (second.value.code, second.value.message) == (first.value.code, first.value.message)
    assert second.value.details == {"index": 0}
    collect_orphans()
    assert buckets.listing() == set(), "the late photo is garbage"


def test_only_the_refused_file_of_a_batch_ends(home: Property) -> None:
    good, bad = factories.uploaded(home, factories.jpeg()), factories.uploaded(home, NO_PHOTO)
    for _ in range(2):
        with pytest.raises(Invalid) as refused:
            uploads.confirm(home, [good, bad])
        assert (refused.value.code, refused.value.details) == ("not_an_image", {"index": 1})
        assert places(home) == 1
    assert confirm(home, good).position == 0


def test_a_refusal_under_an_idempotency_key_frees_its_place(alice: Person, home: Property) -> None:
    """The request fails, so its changes are rolled back: not this one."""
    arrived = factories.uploaded(home, NO_PHOTO)
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    path = f"/api/v1/properties/{home.uuid}/images/confirm"
    first, second = (alice.api("POST", path, json=said, headers={"Idempotency-Key": "6d1c"}) for _ in range(2))
    assert (first.status_code, second.status_code, second.data) == (422, 422, first.data)
    assert places(home) == 0


def test_a_page_shows_the_same_refusal_twice_and_can_cancel(alice: Person, home: Property) -> None:
    arrived, path = factories.uploaded(home, NO_PHOTO), f"/properties/{home.uuid}/uploads"
    first, second = (alice.browser().post(f"{path}/confirm", data={"key": arrived.key}) for _ in range(2))
    assert (first.status_code, second.status_code, second.json) == (422, 422, first.json)
    assert places(home) == 0
    assert cancel(home, arrived.key) == "photo.jpg"
    assert db.session.query(Upload).count() == 0


def test_an_upload_that_may_still_succeed_keeps_its_place(home: Property) -> None:
    (upload,) = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", 10)])
    assert refusal(home, UploadedFile(upload.key, "image/jpeg", 10)) == "not_uploaded"
    arrived = factories.uploaded(home, factories.jpeg())
    assert refusal(home, UploadedFile(arrived.key, "image/jpeg", 10)) == "differs_from_presigned"
    with bucket_behind_a_proxy() as front, pytest.raises(StorageFailed):
        front.answer = lambda _: 503
        uploads.confirm(home, [arrived])
    assert places(home) == 2
    assert confirm(home, arrived).position == 0


@pytest.mark.parametrize("killed", ["child", "fork server"])
def test_an_upload_whose_check_is_killed_is_confirmed_later(
    home: Property, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    """As by the kernel when the machine has no memory left."""
    arrived = factories.uploaded(home, factories.jpeg().removesuffix(b"\xff\xd9"))  # only a child can check it
    with monkeypatch.context() as patched:
        patched.setattr(jpeg, "has_all_pixels", {"child": _kill_child, "fork server": _kill_fork_server}[killed])
        assert refusal(home, arrived) == "opening_interrupted"
    assert places(home) == 1
    assert confirm(home, arrived).position == 0


def test_an_upload_that_finds_no_memory_is_confirmed_later(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = factories.uploaded(home, factories.jpeg())

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Image, "open", fail)
        assert refusal(home, arrived) == "opening_interrupted"
    assert confirm(home, arrived).position == 0


def _kill_child(_: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_fork_server(_: bytes) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()  # a child dies with it


@on_both
def test_simultaneous_confirms_of_a_bad_file_are_all_refused(home: Property, at_once: Callable[..., list[Any]]) -> None:
    arrived = factories.uploaded(home, NO_PHOTO)

    def one(id: int) -> None:
        confirm(db.session.get_one(Property, id), arrived)

    answers = at_once(one, *[(home.id,)] * 10)
    assert {answer.code for answer in answers} == {"not_an_image"}
    assert places(home) == 0


def test_the_row_of_a_refused_upload_goes_when_it_expires(home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presigning, "CONFIRMABLE_FOR", timedelta(seconds=-1))
    refusal(home, factories.uploaded(home, NO_PHOTO))
    assert retention.expire_uploads() == 1
