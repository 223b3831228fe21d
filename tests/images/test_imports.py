"""Import by URL: each URL becomes one image or one reason, even if hosts are slow, gone or workers killed."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal import config
from portal.db import db, now
from portal.errors import Invalid, NotFound, OverQuota
from portal.images import gallery, imports
from portal.images.imports import fetch
from portal.images.models import Image, ImportItem, ImportJob, Property
from portal.webhooks.models import Delivery
from portal.work import work
from tests import factories
from tests.buckets import collect_orphans
from tests.conftest import BOTH, Buckets
from tests.crashes import dies_at
from tests.factories import Person
from tests.outside import Outside, Reply, Seen, outside


def picture(seen: Seen) -> Reply:
    """A photo coloured by its path, so that no two are alike."""
    n = int("".join(c for c in seen.path if c.isdigit()) or 0)
    return Reply(body=factories.jpeg(64, 48, (n * 11 % 255, n * 7 % 255, 90)), headers={"Content-Type": "image/jpeg"})


@pytest.fixture
def host() -> Iterator[Outside]:
    with outside(picture) as there:
        yield there


def urls(host: Outside, count: int, first: int = 0) -> list[str]:
    return [f"{host.url}/photo-{n}.jpg" for n in range(first, first + count)]


def how(job: ImportJob) -> imports.Progress:
    db.session.rollback()
    return imports.progress(job, imports.items(job))


def used(person: Person) -> int:
    db.session.rollback()
    return imports.budget(person.workspace).used


def test_urls_become_images_of_the_gallery(home: Property, host: Outside, alice: Person) -> None:
    job = imports.start(home, urls(host, 3), added_by="Alice")
    assert how(job).status == "pending"
    assert fetch.run() == 3
    done = how(job)
    assert (done.status, done.total, done.imported, done.failed) == ("completed", 3, 3, 0)
    assert done.total_bytes == sum(image.size_bytes for image in gallery.images(home))
    assert job.completed_at
    assert sorted(image.file_name for image in gallery.images(home)) == [f"photo-{n}.jpg" for n in range(3)]
    assert [image.position for image in gallery.images(home)] == [0, 1, 2]
    assert all(str(image.uuid) in image.key for image in gallery.images(home))
    assert used(alice) == 3


def test_too_many_too_long_or_no_urls_are_refused(home: Property) -> None:
    for wrong in ([], ["https://a.example/x.jpg"] * 21, ["https://a.example/" + "x" * 2048]):
        with pytest.raises(Invalid):
            imports.start(home, wrong)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/x", "http://u:p@a.example/", "http://2130706433/"]
)
def test_urls_that_could_never_be_fetched_are_refused_immediately(home: Property, url: str, alice: Person) -> None:
    with pytest.raises(Invalid) as refused:
        imports.start(home, ["https://a.example/x.jpg", url])
    assert (refused.value.code, refused.value.details) == ("invalid_url", {"index": 1})
    assert used(alice) == 0


def test_a_duplicate_url_is_imported_once(home: Property, host: Outside, alice: Person) -> None:
    job = imports.start(home, urls(host, 1) * 2)
    fetch.run()
    done = how(job)
    assert (done.total, done.imported, done.failed) == (2, 1, 1)
    assert [item.code for item in imports.items(job)] == [None, "duplicate_url"]
    assert {(item.next_at, item.fetching_until) for item in imports.items(job)} == {(None, None)}, "nothing is due"
    assert fetch.run() == 0
    assert used(alice) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(404), "http_error"),
        (Reply(410), "http_error"),
        (Reply(body=b"<html>not a photo</html>"), "not_an_image"),
        (Reply(body=b"GIF89a" + bytes(50)), None),
        (Reply(302, headers={"Location": "http://169.254.169.254/"}), "blocked_address"),
        (Reply(body=factories.jpeg(), headers={"Content-Encoding": "gzip"}), "encoded"),
    ],
)
def test_a_failed_url_has_a_reason_and_returns_its_budget(
    home: Property, alice: Person, buckets: Buckets, reply: Reply, code: str | None
) -> None:
    with outside(lambda _: reply) as there:
        job = imports.start(home, urls(there, 1))
        fetch.run()
    (item,) = imports.items(job)
    assert (how(job).status, item.state) == ("failed", "failed")
    assert code is None or item.code == code
    assert item.message
    assert "127.0.0.1" not in item.message
    assert "169.254" not in item.message
    assert used(alice) == 0
    assert buckets.listing() == set()


def test_a_file_over_ten_megabytes_is_too_large(home: Property) -> None:
    with outside(lambda _: Reply(body=bytes(10 * 1024 * 1024 + 1))) as there:
        job = imports.start(home, urls(there, 1))
        fetch.run()
    assert imports.items(job)[0].code == "too_large"


def test_a_host_that_fails_briefly_is_asked_again(home: Property) -> None:
    answers = iter([Reply(503), Reply(body=factories.jpeg())])
    with outside(lambda _: next(answers)) as there:
        job = imports.start(home, urls(there, 1))
        fetch.run()
        assert how(job).status == "processing"
        with work():
            db.session.execute(update(ImportItem).values(next_at=now()))
        fetch.run()
    assert how(job).imported == 1


def test_the_quota_holds_in_the_middle_of_an_import(home: Property, host: Outside) -> None:
    job = imports.start(home, urls(host, 20))
    factories.photo_in(home, factories.jpeg(16, 12))
    fetch.run()
    done = how(job)
    assert (done.imported, done.failed) == (19, 1)
    assert {item.code for item in imports.items(job)} == {None, "image_limit_reached"}
    assert gallery.quota(home).used == 20


def test_quota_and_budget_are_checked_at_the_start(home: Property, host: Outside, alice: Person) -> None:
    factories.photo_in(home, factories.jpeg(16, 12))
    with pytest.raises(OverQuota) as full:
        imports.start(home, urls(host, 20))
    assert full.value.details["limit"] == "imagesPerProperty"
    for _ in range(10):
        imports.start(factories.home_of(alice.workspace), urls(host, 20))
    with pytest.raises(OverQuota) as spent:
        imports.start(factories.home_of(alice.workspace), urls(host, 1))
    assert spent.value.details == {"limit": "importsPerMonth", "max": 200, "used": 200, "requested": 1}


@pytest.mark.parametrize("database", BOTH, indirect=True)
@pytest.mark.parametrize(
    ("links_each", "started"),
    [pytest.param(15, 13, id="195 of 200"), pytest.param(20, 10, id="all of 200", marks=pytest.mark.slow)],
)
def test_parallel_imports_never_exceed_the_monthly_budget(
    alice: Person, at_once: Callable[..., list[Any]], links_each: int, started: int
) -> None:
    homes = [factories.home_of(alice.workspace, f"House {n}").id for n in range(20)]

    def start(property_id: int) -> int:
        links = [f"https://photos.example/{n}.jpg" for n in range(links_each)]
        return imports.start(db.session.get_one(Property, property_id), links).id

    answers = at_once(start, *[(property_id,) for property_id in homes])
    assert sum(isinstance(answer, int) for answer in answers) == started
    assert sum(isinstance(answer, OverQuota) for answer in answers) == 20 - started
    assert used(alice) == started * links_each


def test_a_finished_import_sends_one_event(home: Property, host: Outside, alice: Person) -> None:
    from portal.webhooks import endpoints

    endpoints.create(alice.workspace, "http://127.0.0.1/hook", ["property.updated"])
    imports.start(home, urls(host, 5))
    fetch.run()
    assert db.session.scalar(select(func.count(Delivery.id))) == 1


def test_an_import_of_another_property_or_workspace_is_absent(home: Property, host: Outside, charlie: Person) -> None:
    job = imports.start(home, urls(host, 1))
    for other in (factories.home_of(home.workspace, "Next door"), factories.home_of(charlie.workspace)):
        with pytest.raises(NotFound):
            imports.find(other, str(job.uuid))
    assert imports.find(home, str(job.uuid)).id == job.id


def test_two_concurrent_workers_import_nothing_twice(
    home: Property, host: Outside, at_once: Callable[..., list[Any]], buckets: Buckets
) -> None:
    job = imports.start(home, urls(host, 20))
    assert sum(at_once(fetch.run, *[()] * 3)) == 20
    assert (how(job).imported, gallery.quota(home).used, len(buckets.listing())) == (20, 20, 20)


def test_an_import_killed_five_times_has_twenty_images_and_no_duplicate(
    home: Property, host: Outside, buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:

    job = imports.start(home, urls(host, 20))
    for step in (12, 30, 45, 61, 80):
        assert not dies_at(step, config.settings(), fetch.run)
        with work():  # let their leases expire
            late = now() - timedelta(seconds=1)
            busy = update(ImportItem).where(ImportItem.fetching_until.is_not(None))
            db.session.execute(busy.values(fetching_until=late, next_at=late))
    fetch.run()
    done = how(job)
    assert (done.status, done.imported, done.failed) == ("completed", 20, 0)
    images = list(db.session.scalars(select(Image)))
    assert len({image.sha256 for image in images}) == len(images) == 20
    collect_orphans()
    assert {key for _, key in buckets.listing()} == {image.original_key for image in images}


def test_failed_links_can_be_retried(home: Property, alice: Person) -> None:
    broken = [True]
    with outside(lambda seen: Reply(404) if broken[0] else picture(seen)) as there:
        job = imports.start(home, urls(there, 4))
        fetch.run()
        assert how(job).status == "failed"
        broken[0] = False
        imports.try_again(job)
        assert used(alice) == 4
        fetch.run()
    assert (how(job).status, how(job).imported) == ("completed", 4)


def test_deleting_the_property_ends_its_import(home: Property, host: Outside, buckets: Buckets) -> None:
    from portal.images import properties

    imports.start(home, urls(host, 3))
    properties.delete(home)
    assert fetch.run() == 0
    assert buckets.listing() == set()
