"""The jobs page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from rq import Worker
from rq.serializers import JSONSerializer
from sqlalchemy import update

from portal import config
from portal.db import db, now
from portal.images import imports
from portal.images.models import FAILED, READY, Image, ImportBudget, ImportJob, Property
from portal.infra import jobs
from portal.pages import jobs as jobs_page
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from portal.work import work
from tests.factories import Person, home_of, photo_in
from tests.listings import rows
from tests.pages.conftest import HTMX


def failed(home: Property, name: str = "hall.jpg", reason: str = "The file is damaged.") -> Image:
    image = photo_in(home, name=name)
    with work():
        image.variants, image.pending_since, image.failure_reason = FAILED, None, reason
    return image


def test_the_page_shows_all_jobs(alice: Person, home: Property, work_off: Callable[[], int]) -> None:
    photo_in(home, name="bath.jpg")
    work_off()
    failed(home)
    photo_in(home, name="attic.jpg")
    page = alice.browser().get("/jobs").text
    for word in (
        "bath.jpg",
        "attic.jpg",
        "hall.jpg",
        "Alder Cottage",
        "The file is damaged.",
        "Run again",
        "Waiting",
        "Done",
    ):
        assert word in page
    assert 'class="nav-badge"' in page


def test_without_a_job_there_is_one_sentence_and_one_button(alice: Person) -> None:
    page = alice.browser().get("/jobs").text
    assert "No jobs yet" in page and 'class="nav-badge"' not in page and "Retry failed" not in page


def test_filters_and_search(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    failed(home)
    photo_in(home, name="attic.jpg")
    photo_in(home, name="bath.jpg")
    browser = alice.browser()
    for query, shown in (("state=failed", 1), ("state=waiting", 2), ("q=attic", 1), ("state=done", 0)):
        with subtests.test(query=query):
            assert browser.get(f"/jobs?{query}").text.count('<li class="job"') == shown


def test_an_unknown_state_or_cursor_is_refused(alice: Person) -> None:
    browser = alice.browser()
    assert browser.get("/jobs?state=lost").status_code == 422
    assert browser.get("/jobs?after=x").status_code == 422


def test_older_jobs_are_on_the_next_page(alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs_page.PAGE == 30
    monkeypatch.setattr(jobs_page, "PAGE", 3)
    for number in range(4):
        photo_in(home, name=f"{number:02}.jpg")
    browser = alice.browser()
    first = browser.get("/jobs").text
    assert first.count('<li class="job"') == 3
    link = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert "00.jpg" in browser.get(link).text


def test_polling_gets_304_until_something_changes(alice: Person, home: Property) -> None:
    browser = alice.browser()
    first = browser.get("/jobs", headers=HTMX)
    tag = {"HX-PTag": first.headers["HX-PTag"]}
    assert first.text.startswith('<div class="page" id="jobs-live"')
    assert browser.get("/jobs", headers=HTMX | tag).status_code == 304
    photo_in(home)
    assert browser.get("/jobs", headers=HTMX | tag).status_code == 200


def test_run_again_makes_a_failed_job_wait(alice: Person, home: Property, work_off: Callable[[], int]) -> None:
    work_off()
    image = failed(home)
    jobs.connection().flushall()
    answer = alice.browser().post(f"/jobs/{image.uuid}/run-again", data={"state": "failed", "q": "hall"})
    assert (answer.status_code, answer.location) == (303, "/jobs?state=failed&q=hall")
    assert (image.variants, image.failure_reason) == ("pending", None)
    assert work_off() == 1
    assert image.variants == "ready"


def test_run_again_answers_htmx_with_the_list(alice: Person, home: Property) -> None:
    image = failed(home)
    answer = alice.browser().post(f"/jobs/{image.uuid}/run-again", headers=HTMX, data={"state": "failed"})
    assert answer.status_code == 200 and "Nothing failed" in answer.text


def test_retry_failed_affects_only_the_persons_workspace(alice: Person, charlie: Person, home: Property) -> None:
    images = [failed(home), failed(home)]
    charlie.browser().post("/jobs/retry-failed")
    assert {image.variants for image in images} == {"failed"}
    assert alice.browser().post("/jobs/retry-failed").status_code == 303
    assert {image.variants for image in images} == {"pending"}


def test_workers_are_named_by_their_queue(alice: Person, charlie: Person, home: Property) -> None:
    image = photo_in(home, name="attic.jpg")
    worker = Worker([jobs.PIXELS], connection=jobs.connection(), serializer=JSONSerializer, name="pixels-of-host-7")
    worker.register_birth()
    job = jobs.queue(jobs.PIXELS).fetch_job(jobs.make_variants(image.id).id)
    assert job
    worker.set_current_job_id(job.id)
    mine, theirs = alice.browser().get("/jobs").text, charlie.browser().get("/jobs").text
    assert "pixels 1" in mine and "Converting attic.jpg" in mine and "host-7" not in mine
    assert "pixels 1" in theirs and "Busy" in theirs and "attic.jpg" not in theirs


def test_without_redis_the_rest_of_the_page_works(alice: Person, home: Property, app: Flask) -> None:
    photo_in(home, name="attic.jpg")
    browser = alice.browser()
    jobs.connect(replace(config.settings(), redis_url="redis://localhost:1"))
    try:
        page = browser.get("/jobs")
    finally:
        jobs.connect(config.settings())
    assert page.status_code == 200
    assert "attic.jpg" in page.text and "job queue is unavailable" in page.text


def test_a_file_name_is_escaped(alice: Person, home: Property) -> None:
    failed(home, name="<img src=x onerror=alert(1)>.jpg", reason="<b>Damaged</b>")
    page = alice.browser().get("/jobs").text
    assert "<img src=x" not in page and "<b>Damaged" not in page


def test_the_duration_of_a_job_is_read_from_the_rows(
    alice: Person, home: Property, work_off: Callable[[], int]
) -> None:
    photo_in(home)
    work_off()
    db.session.rollback()
    assert now() and " s</span>" in alice.browser().get("/jobs?state=done").text


@pytest.fixture
def imported(home: Property) -> ImportJob:
    """An import whose three links became a photo, a 404 and a 404 on another host."""
    hosts = ("photos.example", "photos.example", "cdn.example")
    job = imports.start(home, [f"https://{host}/{n}.jpg" for n, host in enumerate(hosts)], added_by="Alice")
    with work():
        items = imports.items(job)
        items[0].state, items[0].next_at, items[0].attempts = READY, None, 1
        for item in items[1:]:
            item.state, item.next_at, item.attempts = FAILED, None, 1
            item.code, item.message = "http_error", "The server answered 404."
        job.completed_at = now()
    return job


def undelivered(person: Person, answer: int = 500) -> Delivery:
    endpoint = endpoints.create(person.workspace, "https://example.com/hooks", ["property.updated"])
    delivery = endpoints.send_test(endpoint)
    with work():
        delivery.state, delivery.next_at, delivery.attempts = "failed", None, 8
        delivery.status, delivery.took_ms, delivery.last_at = answer, 84, now()
    return delivery


def test_an_import_shows_its_progress(alice: Person, home: Property) -> None:
    job = imports.start(home, [f"https://photos.example/{n}.jpg" for n in range(4)], added_by="Alice")
    browser = alice.browser()
    assert "Import 4 photos by link" in browser.get("/jobs?state=waiting").text
    with work():
        items = imports.items(job)
        items[0].state, items[0].attempts = READY, 1
        items[1].fetching_until, items[1].attempts = now() + timedelta(minutes=1), 1
    page = browser.get("/jobs?state=running").text
    assert "1 of 4 photos" in page and 'aria-valuenow="25"' in page and "photos.example" in page


def test_a_failed_link_says_why_and_where_and_is_fetched_again(alice: Person, imported: ImportJob) -> None:
    browser = alice.browser()
    page = browser.get("/jobs?state=failed").text
    for words in ("1 of 3 photos", "2 links failed", "The server answered 404.", "https://cdn.example/2.jpg"):
        assert words in page
    assert browser.post(f"/jobs/{imported.uuid}/run-again").status_code == 303
    assert [item.state for item in imports.items(imported)] == ["ready", "pending", "pending"]
    assert 'class="nav-badge"' not in browser.get("/jobs").text


def test_a_retry_over_quota_says_so(alice: Person, imported: ImportJob) -> None:
    with work():
        db.session.execute(update(ImportBudget).values(used=200))
    answer = alice.browser().post(f"/jobs/{imported.uuid}/run-again", headers=HTMX)
    assert answer.status_code == 422 and "200 are used" in answer.headers["HX-Trigger"]


def test_failed_and_waiting_deliveries_are_jobs_and_delivered_ones_are_not(alice: Person) -> None:
    delivery, browser = undelivered(alice), alice.browser()
    page = browser.get("/jobs?kind=webhooks&state=failed").text
    assert "Send webhook.test" in page and "The receiver answered 500." in page and 'class="nav-badge"' in page
    assert browser.post(f"/jobs/{delivery.uuid}/run-again", headers=HTMX).status_code == 200
    assert (delivery.state, delivery.attempts) == ("pending", 0)
    assert "Send webhook.test" in browser.get("/jobs?state=waiting").text
    with work():
        delivery.state, delivery.next_at = "delivered", None
    assert "Send webhook.test" not in browser.get("/jobs").text


def test_failures_are_grouped_by_cause_and_each_group_can_be_retried(
    alice: Person, home: Property, imported: ImportJob
) -> None:
    images, delivery, browser = [failed(home), failed(home, reason="Too wide.")], undelivered(alice), alice.browser()
    page = browser.get("/jobs?state=failed").text
    assert page.count("Run all of these again</button>") == 5
    here = {"state": "failed", "q": "", "kind": ""}
    cause = {"cause": "imports", "reason": "The server answered 404.", "place": "cdn.example"}
    assert browser.post("/jobs/retry-failed", data={**here, **cause}).location == "/jobs?state=failed"
    assert [item.state for item in imports.items(imported)] == ["ready", "failed", "pending"]
    browser.post("/jobs/retry-failed", data={"cause": "photos", "reason": "Too wide."})
    assert [image.variants for image in images] == ["failed", "pending"]
    browser.post("/jobs/retry-failed", data={"cause": "webhooks", "reason": "The receiver answered 410.", "place": "x"})
    assert delivery.state == "failed"
    cause = {"cause": "webhooks", "reason": "The receiver answered 500.", "place": "https://example.com/hooks"}
    browser.post("/jobs/retry-failed", data=cause)
    assert delivery.state == "pending"
    assert browser.post("/jobs/retry-failed", data={"cause": "sync"}).status_code == 422


def test_retry_failed_includes_all_kinds(alice: Person, home: Property, imported: ImportJob) -> None:
    image, delivery = failed(home), undelivered(alice)
    alice.browser().post("/jobs/retry-failed")
    assert (image.variants, delivery.state) == ("pending", "pending")
    assert [item.state for item in imports.items(imported)] == ["ready", "pending", "pending"]


def test_charlie_cannot_retry_alices_jobs(alice: Person, charlie: Person, imported: ImportJob) -> None:
    delivery, browser = undelivered(alice), charlie.browser()
    for job in (imported, delivery):
        foreign, absent = (browser.post(f"/jobs/{uuid}/run-again") for uuid in (job.uuid, uuid4()))
        assert (foreign.status_code, foreign.text) == (404, absent.text)
    for kind, reason, place in [
        ("imports", "The server answered 404.", "cdn.example"),
        ("webhooks", "The receiver answered 500.", "https://example.com/hooks"),
    ]:
        browser.post("/jobs/retry-failed", data={"cause": kind, "reason": reason, "place": place})
    browser.post("/jobs/retry-failed")
    page = browser.get("/jobs").text
    assert not [mark for mark in ("photos.example", "cdn.example", "example.com") if mark in page]
    assert (delivery.state, imports.items(imported)[1].state) == ("failed", "failed")


def test_the_number_of_statements_does_not_grow_with_the_jobs(
    alice: Person, home: Property, imported: ImportJob, statements: Callable[..., int]
) -> None:
    failed(home)
    undelivered(alice)
    rows.listing_of(rows.account_of(alice.workspace), "failed")
    browser = alice.browser()
    paths = ("/jobs", "/jobs?state=failed")
    few = [statements(browser.get, path, headers=HTMX) for path in paths]
    for number in range(4):
        failed(home, reason=f"Reason {number}.")
        undelivered(alice)
        imports.start(home_of(alice.workspace, f"Home {number}"), [f"https://h{number}.example/1.jpg"])
        rows.listing_of(rows.account_of(alice.workspace, f"Account {number}"), "failed", "copied", "waiting", "failed")
        rows.listing_of(rows.account_of(alice.workspace, f"Further {number}"), "failed", "failed")
    assert [statements(browser.get, path, headers=HTMX) for path in paths] == few
    assert max(few) <= 23
