"""The browser's uploads: presign, PUT, confirm, and a message for each refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.images.uploads import MAX_SIZE_BYTES
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person
from tests.pages.conftest import HTMX


def presign(person: Person, home: Property, **file: Any) -> TestResponse:
    body = {"name": "hall.jpg", "type": "image/jpeg", "size": 1000} | file
    return person.browser().post(f"/properties/{home.uuid}/uploads", json=body)


def test_a_file_becomes_a_tile(alice: Person, home: Property) -> None:
    data = factories.jpeg()
    grant = presign(alice, home, size=len(data)).json
    assert grant
    assert factories.put(grant["url"], data, grant["headers"]["Content-Type"]).ok
    answer = alice.browser().post(grant["done"], data={"key": grant["key"]})
    assert answer.status_code == 200
    assert 'data-s="proc"' in answer.text
    db.session.rollback()
    (image,) = gallery.images(home)
    assert (image.file_name, image.added_by) == ("hall.jpg", "Alice")


def test_confirming_twice_returns_the_same_tile(alice: Person, home: Property) -> None:
    data = factories.jpeg()
    grant = presign(alice, home, size=len(data)).json
    assert grant
    factories.put(grant["url"], data, "image/jpeg")
    answers = [alice.browser().post(grant["done"], data={"key": grant["key"]}) for _ in range(2)]
    assert answers[0].data == answers[1].data


TYPES = [
    ("IMG_1.HEIC", "", "image/heic"),
    ("IMG_1.heif", "image/heif", "image/heic"),
    ("scan.jfif", "", "image/jpeg"),
    ("hall.jpg", "image/jpg", "image/jpeg"),
]


def test_types_are_accepted_as_browsers_name_them(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for name, type, signed in TYPES:
        with subtests.test(name=name, type=type, signed=signed):
            grant = presign(alice, home, name=name, type=type).json
            assert grant
            assert grant["headers"] == {"Content-Type": signed}


REFUSALS = [
    ({"name": "plan.pdf", "type": "application/pdf"}, "Unsupported file type"),
    ({"name": "plan", "type": ""}, "Unsupported file type"),
    ({"size": MAX_SIZE_BYTES + 1}, "Over 10 MB"),
    ({"size": 0}, "The file is empty"),
    ({"size": "1000"}, "The file is empty"),
    ({"name": "x" * 256 + ".jpg"}, "The file name is too long"),
]


def test_each_refusal_has_its_message(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for file, title in REFUSALS:
        with subtests.test(file=file, title=title):
            answer = presign(alice, home, **file)
            assert answer.status_code == 422
            assert answer.json
            assert answer.json["title"] == title


def test_anything_but_a_file_is_refused(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for body in ("[]", "null", "nonsense", '{"size": 1e400}'):
        with subtests.test(body=body):
            answer = alice.browser().post(
                f"/properties/{home.uuid}/uploads", data=body, content_type="application/json"
            )
            assert answer.status_code == 422


def test_a_full_plan_is_402(alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=2, imports_per_month=9))
    for _ in range(2):
        factories.photo_in(home, factories.jpeg(30, 20))
    answer = presign(alice, home)
    assert answer.status_code == 402
    assert answer.json == {
        "error": "quota_exceeded",
        "title": "Photo limit reached",
        "text": "Your plan allows 2 photos per property.",
    }


def test_bytes_that_are_no_photo_are_refused_at_the_confirm(alice: Person, home: Property, buckets: Buckets) -> None:
    data = b"not a photo at all"
    grant = presign(alice, home, size=len(data)).json
    assert grant
    factories.put(grant["url"], data, "image/jpeg")
    before = buckets.listing()
    answer = alice.browser().post(grant["done"], data={"key": grant["key"]})
    assert answer.status_code == 422
    assert answer.json
    assert answer.json["text"]
    assert buckets.listing() <= before
    assert gallery.quota(home).used == 0


def test_a_confirm_before_the_put_says_that_nothing_arrived(alice: Person, home: Property) -> None:
    grant = presign(alice, home).json
    assert grant
    answer = alice.browser().post(grant["done"], data={"key": grant["key"]})
    assert answer.status_code == 422
    assert answer.json
    assert answer.json["error"] == "not_uploaded"


def test_a_cancelled_upload_leaves_no_photo(alice: Person, home: Property, buckets: Buckets) -> None:
    data = factories.jpeg()
    grant = presign(alice, home, size=len(data)).json
    assert grant
    factories.put(grant["url"], data, "image/jpeg")
    alice.browser().post(grant["done"], data={"key": grant["key"]})
    answer = alice.browser().post(grant["cancel"], data={"key": grant["key"]}, headers=HTMX)
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["text"] == "Cancelled hall.jpg."
    assert "<b>0</b> of" in answer.text
    assert gallery.quota(home).used == 0
    assert buckets.listing() == set()


def test_cancelling_an_unknown_upload_is_silent(alice: Person, home: Property) -> None:
    answer = alice.browser().post(f"/properties/{home.uuid}/uploads/cancel", data={"key": "nonsense"}, headers=HTMX)
    assert (answer.status_code, "HX-Trigger" in answer.headers) == (200, False)


def test_charlie_cannot_confirm_a_key_of_alices(alice: Person, charlie: Person, home: Property) -> None:
    data = factories.jpeg()
    grant = presign(alice, home, size=len(data)).json
    assert grant
    factories.put(grant["url"], data, "image/jpeg")
    own = factories.home_of(charlie.workspace)
    url = f"/properties/{own.uuid}/uploads/confirm"
    foreign, absent = (charlie.browser().post(url, data={"key": key}) for key in (grant["key"], "images/x/y/z.jpg"))
    assert (foreign.status_code, foreign.data) == (absent.status_code, absent.data)
    assert foreign.status_code == 404
