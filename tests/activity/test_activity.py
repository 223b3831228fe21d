"""What the jobs page reads from the rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from portal import activity
from portal.activity.shapes import DONE_SINCE, FAILURES_LISTED_FOR
from portal.activity.variants import RUNS_AT_MOST
from portal.db import db, now
from portal.errors import Invalid, NotFound
from portal.images import imports
from portal.images.models import FAILED, READY, Image, ImportJob, Property
from portal.images.usage import usage
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery, Endpoint
from portal.work import work
from tests.conftest import BOTH, MATRIX
from tests.factories import Person, home_of, photo_in


def change(image: Image, **values: Any) -> None:
    with work():
        for name, value in values.items():
            setattr(image, name, value)


def ready(image: Image, at: datetime) -> None:
    change(image, variants=READY, pending_since=None, started_at=at - timedelta(seconds=1), ready_at=at)


def failed(image: Image, reason: str = "The file is damaged.") -> None:
    change(image, variants=FAILED, pending_since=None, started_at=now(), failure_reason=reason)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_each_job_is_in_one_state(alice: Person, home: Property) -> None:
    images = [photo_in(home, name=f"{number}.jpg") for number in range(4)]
    change(images[0], started_at=now())
    failed(images[1])
    ready(images[2], now())
    assert activity.counts(alice.workspace) == (1, 1, 1, 1)
    assert [job.state for job in activity.page(alice.workspace).items[::-1]] == ["running", "failed", "done", "waiting"]
    for job in activity.page(alice.workspace).items:
        assert activity.page(alice.workspace, state=job.state).items == [job]


def test_a_job_started_long_ago_waits_again(alice: Person, home: Property) -> None:
    change(photo_in(home), started_at=now() - RUNS_AT_MOST)
    assert activity.counts(alice.workspace) == (0, 1, 0, 0)


def test_done_counts_the_last_day(alice: Person, home: Property) -> None:
    ready(photo_in(home), now() - DONE_SINCE)
    assert activity.counts(alice.workspace).done == 0


def rows_page_by_page(person: Person) -> list[Any]:
    """Return the rows of all jobs, read two jobs at a time."""
    seen: list[Any] = []
    after = None
    while True:
        page = activity.page(person.workspace, limit=2, after=after)
        seen += [job.row for job in page.items]
        after = page.next_cursor
        if after is None:
            return seen


def test_pages_hold_each_job_once_newest_first(alice: Person, home: Property) -> None:
    images = [photo_in(home, name=f"{number}.jpg") for number in range(5)]
    assert rows_page_by_page(alice) == images[::-1]


def test_a_search_covers_file_and_property(alice: Person, home: Property) -> None:
    photo_in(home, name="kitchen.jpg")
    photo_in(home, name="bath.jpg")
    wanted = {"KITCH": 1, "alder": 2, "alder kitchen": 1, "%": 0, "_": 0}
    assert {search: len(activity.page(alice.workspace, search=search).items) for search in wanted} == wanted


def test_a_search_finds_a_job_by_its_id(alice: Person, home: Property) -> None:
    image = photo_in(home)
    photo_in(home)
    assert activity.page(alice.workspace, search=f" {image.uuid} ").items[0].row == image


def test_an_unknown_state_or_cursor_is_refused(alice: Person) -> None:
    for name, wrong in (("kind", "sync"), ("state", "lost"), *(("after", at) for at in ("x", "-1..", "9" * 40 + ".."))):
        with pytest.raises(Invalid):
            activity.page(alice.workspace, **{name: wrong})  # type: ignore[arg-type]


def test_reasons_are_counted_with_the_most_frequent_first(alice: Person, home: Property) -> None:
    for reason in ("Too wide.", "Damaged.", "Damaged."):
        failed(photo_in(home), reason)
    assert [(cause.reason, cause.failures) for cause in activity.causes(alice.workspace)] == [
        ("Damaged.", 2),
        ("Too wide.", 1),
    ]
    assert activity.has_failed(alice.workspace)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_jobs_are_counted_by_the_minute(alice: Person, home: Property) -> None:
    images = [photo_in(home) for _ in range(6)]
    this_minute = now().replace(second=0, microsecond=0)
    for image, minutes in zip(images, (0, 0, 1, 59, 60, 61), strict=True):
        ready(image, this_minute - timedelta(minutes=minutes))
    counted = activity.jobs_per_minute(alice.workspace)
    assert len(counted) == 60
    assert (counted[-1], counted[-2], counted[0], sum(counted)) == (2, 1, 1, 4)


def test_charlie_sees_none_of_alices_jobs(alice: Person, charlie: Person, home: Property) -> None:
    image = photo_in(home)
    failed(image)
    assert activity.counts(charlie.workspace) == (0, 0, 0, 0)
    assert activity.page(charlie.workspace).items == []
    assert activity.page(charlie.workspace, search=str(image.uuid)).items == []
    assert activity.causes(charlie.workspace) == []
    assert not activity.has_failed(charlie.workspace)
    assert sum(activity.jobs_per_minute(charlie.workspace)) == 0
    assert activity.file_names(charlie.workspace, [image.id]) == {}
    with pytest.raises(NotFound):
        activity.find(charlie.workspace, str(image.uuid))


def test_usage_counts_what_is_stored(alice: Person, charlie: Person, home: Property) -> None:
    other = home_of(alice.workspace, "Beck House")
    images = [photo_in(home), photo_in(other), photo_in(other)]
    change(images[0], large_size_bytes=1000)
    found = usage(alice.workspace)
    assert (found.properties, found.photos, found.fullest, found.fullest_photos) == (2, 3, other, 2)
    assert found.size_bytes == sum(image.size_bytes for image in images) + 1000
    assert usage(charlie.workspace) == (0, 0, 0, None, 0)


def test_the_number_of_statements_does_not_grow_with_the_jobs(alice: Person, home: Property) -> None:
    def count() -> int:
        said: list[str] = []
        note = lambda *args: said.append(args[2])  # noqa: E731
        db.session.rollback()
        db.session.expire_all()
        event.listen(db.engine, "before_cursor_execute", note)
        for job in activity.page(alice.workspace).items:
            assert job.row.property.workspace.name
        activity.counts(alice.workspace)
        activity.jobs_per_minute(alice.workspace)
        activity.causes(alice.workspace)
        usage(alice.workspace)
        event.remove(db.engine, "before_cursor_execute", note)
        db.session.rollback()
        return len(said)

    photo_in(home)
    few = count()
    for number in range(5):
        failed(photo_in(home), f"Reason {number}.")
    assert count() == few


def finish(job: ImportJob, *states: str, at: datetime | None = None) -> None:
    with work():
        for item, state in zip(imports.items(job), states, strict=True):
            item.state, item.next_at = state, None
            item.code, item.message = ("http_error", "The server answered 404.") if state == FAILED else (None, None)
        job.completed_at = at or now()


def tried(person: Person, *states: str, at: datetime | None = None) -> list[Delivery]:
    endpoint = endpoints.create(person.workspace, "https://example.com/hooks", ["property.updated"])
    sent = [endpoints.send_test(endpoint) for _ in states]
    with work():
        for one, state in zip(sent, states, strict=True):
            one.state, one.status, one.attempts, one.last_at = state, 500, 1, at or now()
    return sent


def urls(*hosts: str) -> list[str]:
    return [f"https://{host}/{number}.jpg" for number, host in enumerate(hosts)]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_an_import_has_one_state_derived_from_its_items(alice: Person, home: Property) -> None:
    jobs = [imports.start(home, urls("a.example", "b.example")) for _ in range(5)]
    with work():
        imports.items(jobs[0])[0].fetching_until = now() + timedelta(minutes=1)
    finish(jobs[2], READY, FAILED)
    finish(jobs[3], READY, READY)
    finish(jobs[4], FAILED, FAILED, at=now() - FAILURES_LISTED_FOR)
    assert activity.counts(alice.workspace) == (1, 1, 1, 1)
    shown = activity.page(alice.workspace, kind="imports").items
    assert [job.state for job in shown[::-1]] == ["running", "waiting", "failed", "done", "done"]
    for job in shown:
        assert job in activity.page(alice.workspace, state=job.state).items


def test_a_duplicate_url_is_no_failure(alice: Person, home: Property) -> None:
    finish(job := imports.start(home, urls("a.example") * 2), READY, FAILED)
    with work():
        imports.items(job)[1].code = imports.DUPLICATE
    assert not activity.has_failed(alice.workspace)
    assert activity.causes(alice.workspace) == []


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_deliveries_are_jobs_until_they_arrive(alice: Person) -> None:
    tried(alice, "pending", "delivered", "failed")
    tried(alice, "failed", at=now() - FAILURES_LISTED_FOR)
    assert activity.counts(alice.workspace) == (0, 1, 1, 0)
    assert [job.state for job in activity.page(alice.workspace).items] == ["failed", "waiting"]
    assert activity.page(alice.workspace, state="done").items == []
    assert activity.has_failed(alice.workspace)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_causes_are_reasons_grouped_by_host(alice: Person, charlie: Person, home: Property) -> None:
    failed(photo_in(home))
    finish(imports.start(home, urls("a.example", "a.example", "b.example")), FAILED, FAILED, FAILED)
    tried(alice, "failed", "failed", "failed")
    assert [cause[:4] for cause in activity.causes(alice.workspace)] == [
        ("webhooks", "The receiver answered 500.", "https://example.com/hooks", 3),
        ("imports", "The server answered 404.", "a.example", 2),
        ("photos", "The file is damaged.", "", 1),
        ("imports", "The server answered 404.", "b.example", 1),
    ]
    for cause in activity.causes(alice.workspace):
        activity.try_all_again(charlie.workspace, cause)
    assert activity.counts(alice.workspace).failed == 5
    for cause in activity.causes(alice.workspace):
        activity.try_all_again(alice.workspace, cause)
    assert activity.causes(alice.workspace) == []
    assert activity.counts(alice.workspace) == (0, 6, 0, 0), "and an event: the photo no longer counts as failed"


def test_pages_hold_jobs_of_all_kinds_once_newest_first(alice: Person, home: Property) -> None:
    made: list[Any] = []
    for number in range(3):
        made += [photo_in(home), imports.start(home, urls(f"h{number}.example"))]
    made += tried(alice, "failed", "failed", "failed")
    assert rows_page_by_page(alice) == made[::-1]
    assert [job.row for job in activity.page(alice.workspace, search="h1.example").items] == [made[3]]


def test_nothing_is_resent_to_disabled_webhooks(alice: Person) -> None:
    (one,) = tried(alice, "failed")
    endpoints.update(db.session.get_one(Endpoint, one.endpoint_id), enabled=False)
    assert [cause.can_retry for cause in activity.causes(alice.workspace)] == [False]
    activity.try_all_again(alice.workspace)
    assert one.state == "failed"
