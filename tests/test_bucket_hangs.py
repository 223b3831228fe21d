"""A bucket that hangs: it accepts requests and answers nothing. Soon nobody waits for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.db import db, now
from portal.errors import StorageFailed
from portal.images import deletion, imports, keys, variants
from portal.images.imports import fetch
from portal.images.models import Image, ImportItem, Property
from portal.images.variants import lifecycle
from portal.infra import jobs, storage
from portal.infra.circuit_breaker import Breaker
from portal.infra.s3_breaker import LARGE_BYTES, THRESHOLD, Unreachable
from portal.work import work
from tests import factories
from tests.factories import SAME_ORIGIN, Person
from tests.faults import Answer, Front, bucket_behind_a_proxy
from tests.outside import Reply, outside

WEBP = {"Accept": "image/webp"}
LONG_S = 600


@pytest.fixture
def front(app: Flask) -> Iterator[Front]:
    with bucket_behind_a_proxy(read_timeout_s=0.5) as front:
        yield front


def breaker() -> Breaker:
    return storage.cdn._breaker


def breaks(front: Front, answer: Answer = "hang") -> None:
    """The bucket answers nothing from now on, and the process has noticed."""
    front.answer = lambda _: answer
    breaker().threshold, breaker().open_for_s = 1, LONG_S
    with pytest.raises(Unreachable):
        storage.cdn.head("derived/a.webp")
    front.asked.clear()


def recovers(front: Front) -> None:
    """The bucket answers again, and it is time for a probe."""
    front.answer = lambda _: None
    breaker()._half_open_at = 1e-9


CALLS: dict[str, Callable[[storage.Bucket], object]] = {
    "put": lambda bucket: bucket.put("a", b"x", "text/plain"),
    "get": lambda bucket: bucket.get("a"),
    "read": lambda bucket: bucket.read("a"),
    "open": lambda bucket: bucket.open("a"),
    "head": lambda bucket: bucket.head("a"),
    "delete": lambda bucket: bucket.delete("a"),
    "list": lambda bucket: list(bucket.list()),
    "page": lambda bucket: bucket.page(),
}


@pytest.mark.parametrize("answer", ["hang", pytest.param("reset", marks=pytest.mark.slow)])
def test_no_call_reaches_a_bucket_that_answers_nobody_until_it_is_back(front: Front, answer: Answer) -> None:
    breaks(front, answer)
    for bucket in (storage.uploads, storage.cdn):
        for name, call in CALLS.items():
            with pytest.raises(Unreachable, match="did not answer"):
                call(bucket)
            assert not front.asked, name
    assert not storage.cdn.answers(), "readiness asks it nevertheless"
    assert front.asked
    recovers(front)
    assert storage.cdn.answers()
    assert breaker()._half_open_at, "readiness closes nothing"
    for name, call in CALLS.items():
        call(storage.cdn)
        assert not breaker()._half_open_at, name


def test_a_call_in_its_retries_gives_up_when_the_others_fail(front: Front) -> None:
    front.answer = lambda _: "hang"
    breaker().threshold = 2
    with pytest.raises(Unreachable):
        storage.cdn.head("a")
    assert len(front.asked) == 2, "boto3 would try three times"


def test_readiness_alone_opens_nothing(front: Front) -> None:
    breaker().threshold = 1
    front.answer = lambda _: "hang"
    assert not storage.cdn.answers()
    front.answer = lambda _: None
    assert storage.cdn.head("a") is None


def test_large_files_that_take_long_open_nothing(front: Front) -> None:
    breaker().threshold = 1
    front.answer = lambda asked: "hang" if asked.number == 1 else None
    storage.uploads.put("images/large", bytes(LARGE_BYTES + 1), "image/jpeg")
    assert len(front.asked) == 2


def test_a_large_file_that_is_the_probe_and_takes_long_keeps_it_open(front: Front) -> None:
    breaks(front)
    breaker()._half_open_at = 1e-9
    with pytest.raises(Unreachable):
        storage.uploads.put("images/large", bytes(LARGE_BYTES + 1), "image/jpeg")
    assert len(front.asked) == 1
    assert breaker().is_open


def test_a_failed_put_lets_go_of_its_body(front: Front) -> None:
    breaker().threshold = 1
    front.answer = lambda _: "hang"
    gc.disable()
    try:
        body = bytes(100)
        before = sys.getrefcount(body)
        with pytest.raises(Unreachable):
            storage.uploads.put("images/a", body, "image/jpeg")
        assert sys.getrefcount(body) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("status", [500, 503])
def test_a_bucket_that_reports_errors_is_asked_each_time(front: Front, status: int) -> None:
    front.answer = lambda _: status
    for n in range(THRESHOLD):
        with pytest.raises(StorageFailed, match="refused"):
            storage.cdn.put(f"derived/{n}.webp", b"x", "image/webp")
    assert len({request.path for request in front.asked}) == THRESHOLD


def test_what_needs_no_bucket_does_not_ask_it(alice: Person, home: Property, front: Front) -> None:
    first, second = factories.photo_in(home), factories.photo_in(home)
    at, page = f"/api/v1/properties/{home.uuid}/images", f"/properties/{home.uuid}"
    browser, uuids = alice.browser(), [str(second.uuid), str(first.uuid)]
    file = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}
    front.asked.clear()
    front.answer = lambda _: "hang"
    answers = {
        "list": alice.api("GET", at),
        "presign": alice.api("POST", f"{at}/presign", json=file),
        "alt text": alice.api("PATCH", f"{at}/{first.uuid}", json={"altText": "A kitchen"}),
        "reorder": alice.api("PATCH", f"{at}/reorder", json={"imageIds": uuids}),
        "import": alice.api("POST", f"{at}/import", json={"urls": ["http://127.0.0.1:9/a.jpg"]}),
        "gallery": browser.get(f"{page}/photos"),
        "properties": browser.get("/properties"),
        "jobs": browser.get("/jobs"),
        "the editor's presign": browser.post(
            f"{page}/uploads", json={"name": "a.jpg", "type": "image/jpeg", "size": 9}, headers=SAME_ORIGIN
        ),
    }
    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code >= 300} == {}
    assert not front.asked


def test_a_deletion_is_done_and_its_objects_go_later(home: Property, front: Front) -> None:
    image = factories.photo_in(home)
    original = image.original_key
    breaks(front)
    assert deletion.delete(home, [str(image.uuid)]).images == 1
    assert not front.asked
    recovers(front)
    assert storage.uploads.head(original), "it is garbage, which a worker collects"


def test_a_confirm_is_refused_and_succeeds_when_the_bucket_is_back(alice: Person, home: Property, front: Front) -> None:
    file = factories.uploaded(home, factories.jpeg())
    body = {"r2Key": file.key, "contentType": file.content_type, "sizeBytes": file.size_bytes}
    path, browser = f"/properties/{home.uuid}/uploads/confirm", alice.browser()
    breaks(front)
    refused = alice.api("POST", f"/api/v1/properties/{home.uuid}/images/confirm", json=body)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    refused = browser.post(path, data={"key": file.key}, headers=SAME_ORIGIN)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json["text"] == "Nothing was lost. Try again in a minute."
    assert not front.asked
    recovers(front)
    assert browser.post(path, data={"key": file.key}, headers=SAME_ORIGIN).status_code == 200
    assert db.session.scalars(select(Image)).one().uuid


def test_photos_in_the_cache_are_delivered_and_others_when_the_bucket_is_back(
    alice: Person, home: Property, front: Front
) -> None:
    image = factories.photo_in(home)
    variants.make(image.id)
    path, client = urlsplit(keys.image_url(image)).path, alice.app.test_client()
    assert client.get(path, query_string={"w": 320}, headers=WEBP).status_code == 200
    breaks(front)
    assert client.get(path, query_string={"w": 320}, headers=WEBP).status_code == 200
    refused = client.get(path, query_string={"w": 640}, headers=WEBP)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert not front.asked
    recovers(front)
    assert client.get(path, query_string={"w": 640}, headers=WEBP).status_code == 200


def test_a_job_that_meets_it_is_tried_again_without_losing_an_attempt(
    alice: Person, home: Property, front: Front, work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home)
    breaks(front)
    for _ in range(lifecycle.MAX_ATTEMPTS + 1):
        with pytest.raises(StorageFailed):
            variants.make(image.id)
    assert not front.asked
    db.session.refresh(image)
    assert (image.variants, image.attempts) == ("pending", 0)
    recovers(front)
    assert jobs.missing([jobs.make_variants(image.id)]) == []
    work_off()
    db.session.refresh(image)
    assert image.variants == "ready"


def test_what_cannot_be_stored_is_not_downloaded_in_vain(home: Property, front: Front) -> None:
    with outside(lambda _: Reply(body=factories.jpeg())) as host:
        imports.start(home, [f"{host.url}/a.jpg"])
        breaks(front)
        fetch.run()
        assert not host.seen
        assert not front.asked
        item = db.session.scalars(select(ImportItem)).one()
        assert (item.state, item.attempts) == ("pending", 0)
        recovers(front)
        with work():
            db.session.execute(update(ImportItem).values(next_at=now()))
        fetch.run()
    assert db.session.scalars(select(ImportItem.state)).one() == "ready"
