"""Adding photos by an ordinary form, as a browser without JavaScript sends it."""

from __future__ import annotations

from io import BytesIO

import pytest
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, encode_multipart

from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import gallery
from portal.images.models import READY, Property
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.images.test_rendering import no_room

PHOTO = factories.jpeg(60, 40)


def send(person: Person, home: Property, *files: tuple[str, bytes]) -> TestResponse:
    sent = MultiDict([("images", FileStorage(BytesIO(content), name)) for name, content in files])
    boundary, body = encode_multipart(sent)
    content_type = f"multipart/form-data; boundary={boundary}"
    return person.browser().post(f"/properties/{home.uuid}/photos/upload", data=body, content_type=content_type)


def test_uploaded_photos_have_their_variants(alice: Person, bob: Person, home: Property) -> None:
    assert 'enctype="multipart/form-data"' in alice.browser().get(f"/properties/{home.uuid}/photos/upload").text
    answer = send(bob, home, ("a.jpg", PHOTO), ("old/photos/b.jpg", PHOTO))
    assert (answer.status_code, answer.location) == (303, f"/properties/{home.uuid}/photos")
    db.session.rollback()
    images = gallery.images(home)
    assert [image.file_name for image in images] == ["a.jpg", "b.jpg"]
    assert {(image.variants, image.added_by) for image in images} == {(READY, "Bob")}
    assert [image.is_main for image in images] == [True, False]


REFUSED = [
    ([], "Choose one or more photos."),
    ([("", b"")], "Choose one or more photos."),
    ([("a.jpg", PHOTO), ("notes.txt", b"Milk, eggs")], "notes.txt: The file is not an image of a supported type"),
    ([("a.jpg", PHOTO)] * 21, "Maximum 20 files total; there are 21."),
]


def test_all_or_none_are_added_with_the_reason(
    alice: Person, home: Property, buckets: Buckets, subtests: pytest.Subtests
) -> None:
    for files, said in REFUSED:
        with subtests.test(said=said):
            answer = send(alice, home, *files)
            assert answer.status_code == 422
            assert "No photo was added." in answer.text and said in answer.text
            assert gallery.images(home) == []
            assert buckets.listing() == set()


def test_a_full_plan_says_so(alice: Person, home: Property, buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=2, imports_per_month=9))
    send(alice, home, *[("a.jpg", PHOTO)] * 2)
    before = buckets.listing()
    assert "no room for 1 more" in send(alice, home, ("a.jpg", PHOTO)).text
    assert buckets.listing() == before


def test_a_file_that_is_too_large_is_reported(alice: Person, home: Property) -> None:
    answer = send(alice, home, ("a.jpg", PHOTO + b"\0" * 20 * 1024 * 1024))
    assert answer.status_code == 413
    assert "A photo can be up to 20 MB" in answer.text


def test_a_form_that_is_too_large_has_another_message(alice: Person, home: Property) -> None:
    much = {"CONTENT_LENGTH": str(500 * 1024 * 1024), "CONTENT_TYPE": "multipart/form-data; boundary=x"}
    answer = alice.browser().post(f"/properties/{home.uuid}/photos/upload", environ_overrides=much)
    assert answer.status_code == 413
    assert "add fewer photos at a time" in answer.text
    assert "a photo has at most" not in answer.text.lower()


def test_an_overloaded_server_says_when_to_try_again(
    alice: Person, home: Property, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_room(monkeypatch):
        answer = send(alice, home, ("a.jpg", PHOTO))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert "No photo was added. Too many photos are being processed." in answer.text
    assert buckets.listing() == set()


def test_a_failing_bucket_is_reported_as_nobodys_mistake(alice: Person, home: Property, buckets: Buckets) -> None:
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == "PUT" else None
        answer = send(alice, home, ("a.jpg", PHOTO))
    assert answer.status_code == 503
    assert "No photo was added. The photo storage" in answer.text
    assert (gallery.images(home), buckets.listing()) == ([], set())
