"""RQ's dashboard, for signed-in admins."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rq import Worker
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from portal.images.models import Property
from portal.infra import jobs
from tests.factories import Person, photo_in


def a_job_that_failed(home: Property) -> str:
    job = jobs.queue(jobs.PIXELS).fetch_job(jobs.make_variants(photo_in(home).id).id)
    assert job
    queue = jobs.queue(jobs.PIXELS)
    queue.remove(job)
    job.set_status(JobStatus.FAILED)
    queue.failed_job_registry.add(job, ttl=60, exc_string="It broke.")
    return job.id


def test_an_admin_sees_the_queues_the_jobs_and_the_workers(alice: Person, home: Property) -> None:
    photo_in(home)
    worker = Worker([jobs.PIXELS], connection=jobs.connection(), serializer=JSONSerializer, name="pixels-1")
    worker.register_birth()
    worker.set_current_job_id("make_variants-1")
    browser = alice.browser()
    assert browser.get("/rq/").status_code == 200
    assert browser.get("/rq/0/data/queues.json").json["queues"][0]["count"] == 1
    assert browser.get("/rq/0/data/workers.json").json["workers"][0]["name"] == "pixels-1"
    listed = browser.get("/rq/0/data/jobs/pixels/queued/8/asc/1.json").json["jobs"]
    assert [job["description"].startswith("workers.images.make_variants(") for job in listed] == [True]
    assert browser.get(f"/rq/0/data/job/{listed[0]['id']}.json").status_code == 200
    assert browser.get(f"/rq/0/view/job/{listed[0]['id']}").status_code == 200
    with browser.get("/rq/static/css/main.css") as answer:
        assert answer.status_code == 200


def test_an_editor_is_refused_and_an_anonymous_visitor_redirected_to_sign_in(app: Flask, bob: Person) -> None:
    assert bob.browser().get("/rq/").status_code == 403
    assert app.test_client().get("/rq/").location == "/sign-in?next=/rq/"


TIDIER = [("/rq", "/rq/"), ("/rq//0/data/queues.json", "/rq/0/data/queues.json"), ("/sign-in//link", "/sign-in/link")]


def test_a_normalised_path_does_not_redirect_to_a_host_that_the_request_names(
    alice: Person, subtests: pytest.Subtests
) -> None:
    for path, tidier in TIDIER:
        with subtests.test(path=path, tidier=tidier):
            browser = alice.browser()
            cookie = browser.get_cookie("frontage")
            assert cookie
            browser.set_cookie("frontage", cookie.value, domain="evil.example")
            answer = browser.get(f"{path}?a=b", headers={"Host": "evil.example"})
            assert (answer.status_code, answer.location) == (308, f"{tidier}?a=b")


def test_following_a_link_requeues_nothing(alice: Person, home: Property) -> None:
    job_id = a_job_that_failed(home)
    browser = alice.browser()
    for method in ("GET", "HEAD"):
        assert browser.open("/rq/requeue/pixels", method=method).status_code == 405
    assert jobs.queue(jobs.PIXELS).failed_job_registry.get_job_ids() == [job_id]


def test_an_admin_requeues_with_the_buttons(alice: Person, home: Property) -> None:
    browser: FlaskClient = alice.browser()
    first = a_job_that_failed(home)
    assert browser.post(f"/rq/job/{first}/requeue").json == {"status": "OK"}
    second = a_job_that_failed(home)
    assert browser.post("/rq/requeue/pixels").json == {"status": "OK", "count": 1}
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [first, second]


def test_another_sites_page_requeues_nothing(alice: Person, home: Property) -> None:
    job_id = a_job_that_failed(home)
    answer = alice.browser().post("/rq/requeue/pixels", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert jobs.queue(jobs.PIXELS).failed_job_registry.get_job_ids() == [job_id]


def test_nothing_can_be_deleted_here(alice: Person, home: Property) -> None:
    photo_in(home)
    browser = alice.browser()
    job_id = jobs.queue(jobs.PIXELS).get_job_ids()[0]
    for path in (f"/rq/job/{job_id}/delete", "/rq/queue/pixels/queued/empty"):
        assert browser.post(path).json == {"status": "DISABLED"}
    assert jobs.queue(jobs.PIXELS).get_job_ids() == [job_id]


def test_only_the_dashboards_prefix_has_the_looser_policy(alice: Person) -> None:
    browser = alice.browser()
    assert "'unsafe-eval'" in browser.get("/rq/").headers["Content-Security-Policy"]
    for path in ("/rqx", "/jobs", "/"):
        assert "unsafe-eval" not in browser.get(path).headers["Content-Security-Policy"]


def test_only_one_redis_can_be_selected(alice: Person) -> None:
    assert alice.browser().get("/rq/1/data/queues.json").status_code == 404
