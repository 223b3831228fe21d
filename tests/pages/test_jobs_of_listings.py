"""The jobs page for listings: their copies, and the syncs that find them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from rq import Worker
from rq.serializers import JSONSerializer

from portal.db import now
from portal.infra import jobs
from portal.listings.catalogue import COPIED, FAILED, WAITING
from portal.listings.models import IntegrationAccount, Listing
from portal.work import work
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import rows
from tests.listings.rows import BUSY, NOT_FOUND
from tests.pages.conftest import HTMX

REFUSED = "Hostaway rejected these credentials."


@pytest.fixture
def account(alice: Person) -> IntegrationAccount:
    return rows.account_of(alice.workspace, "Alma by the sea")


@pytest.fixture
def broken(account: IntegrationAccount) -> Listing:
    """One of its three pictures is copied; two no longer exist."""
    return rows.listing_of(account, COPIED, FAILED, FAILED, name="Heron House 1")


def refused(account: IntegrationAccount) -> IntegrationAccount:
    with work():
        account.error, account.failures = REFUSED, 1
    return account


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_listing_shows_how_many_of_its_pictures_are_copied(alice: Person, account: IntegrationAccount) -> None:
    listing = rows.listing_of(account, COPIED, COPIED, BUSY, WAITING, name="Heron House 1")
    page = alice.browser().get("/jobs?kind=listings&state=running").text
    for words in ("Heron House 1", "2 of 4 copied", 'aria-valuenow="50"', "Image CDN", "Alma by the sea"):
        assert words in page
    assert f'href="/listings/{listing.uuid}"' in page


def test_a_failed_listing_says_why_and_where_and_is_copied_again(alice: Person, broken: Listing) -> None:
    browser = alice.browser()
    page = browser.get("/jobs?state=failed").text
    for words in ("1 of 3 copied", "2 pictures failed", NOT_FOUND, "https://cdn.example/100/2.jpg", "Picture 3"):
        assert words in page
    assert page.count(f"<p>{NOT_FOUND}</p>") == 1, "each reason once"
    assert 'class="nav-badge"' in page
    assert browser.post(f"/jobs/{broken.uuid}/run-again").status_code == 303
    assert [image.failure_reason for image in rows.images(broken)] == [None] * 3
    page = browser.get("/jobs").text
    assert 'class="nav-badge"' not in page and "1 of 3 copied" in page


def test_all_pictures_of_one_cause_are_copied_again(
    alice: Person, account: IntegrationAccount, broken: Listing
) -> None:
    other = rows.listing_of(account, FAILED, reason="Invalid image format")
    browser = alice.browser()
    page = browser.get("/jobs?state=failed").text
    assert "<b>2 pictures</b>" in page and "<b>1 picture</b>" in page and "<code>cdn.example</code>" in page
    cause = {"cause": "listings", "reason": NOT_FOUND, "place": "cdn.example", "state": "failed"}
    assert browser.post("/jobs/retry-failed", data=cause).location == "/jobs?state=failed"
    assert [image.failure_reason for image in rows.images(broken)] == [None] * 3
    assert rows.images(other)[0].failure_reason == "Invalid image format"
    browser.post("/jobs/retry-failed")
    assert rows.images(other)[0].failure_reason is None


def test_a_sync_shows_its_progress(alice: Person, account: IntegrationAccount) -> None:
    with work():
        account.started_at, account.next_at, account.syncing_until = now(), now() + timedelta(minutes=2), now()
    browser = alice.browser()
    page = browser.get("/jobs?kind=syncs").text
    assert "Alma by the sea" in page and "Starting" in page and "aria-valuenow" not in page
    with work():
        account.pages, account.found, account.total = 3, 300, 1200
    page = browser.get("/jobs?kind=syncs&state=running").text
    assert "300 of 1,200 listings" in page and 'aria-valuenow="25"' in page and "Page 4" in page


def test_a_failed_sync_says_why_and_can_be_retried(alice: Person, account: IntegrationAccount) -> None:
    refused(account)
    browser = alice.browser()
    page = browser.get("/jobs?state=failed").text
    assert REFUSED in page and "The next try is in 14 min." in page and 'class="nav-badge"' in page
    assert browser.post(f"/jobs/{account.uuid}/run-again", headers=HTMX).status_code == 200
    assert account.next_at
    assert account.next_at <= now()
    assert jobs.queue(jobs.SYNC).get_job_ids() == ["sync_listings"]
    page = browser.get("/jobs").text
    assert 'class="nav-badge"' not in page and "Waiting" in page


def test_charlie_cannot_retry_alices_jobs(
    alice: Person, charlie: Person, account: IntegrationAccount, broken: Listing
) -> None:
    refused(account)
    browser = charlie.browser()
    for job in (broken, account):
        foreign, absent = (browser.post(f"/jobs/{uuid}/run-again") for uuid in (job.uuid, uuid4()))
        assert (foreign.status_code, foreign.text) == (404, absent.text)
    for kind, reason, place in [("listings", NOT_FOUND, "cdn.example"), ("syncs", REFUSED, "api.hostaway.com")]:
        browser.post("/jobs/retry-failed", data={"cause": kind, "reason": reason, "place": place})
    browser.post("/jobs/retry-failed")
    for query in ("", "?state=failed", "?q=Heron", "?kind=listings", "?kind=syncs"):
        page = browser.get(f"/jobs{query}").text
        assert not [mark for mark in ("House 1", "Alma", "cdn.example", "hostaway.com") if mark in page]
    assert [image.failure_reason for image in rows.images(broken)] == [None, NOT_FOUND, NOT_FOUND]
    assert account.next_at
    assert account.next_at > now()


def test_names_and_reasons_are_escaped(alice: Person, account: IntegrationAccount) -> None:
    rows.listing_of(account, FAILED, name="<img src=x onerror=alert(1)>", reason="<b>Gone</b>", host="<i>.example")
    with work():
        account.name, account.error, account.failures = "<u>Alma</u>", "<b>Refused</b>", 1
    page = alice.browser().get("/jobs?state=failed").text
    assert not [mark for mark in ("<img src=x", "<b>Gone", "<i>.example", "<u>Alma", "<b>Refused") if mark in page]


DOING = [
    (jobs.sync_listings(), "Syncing listings"),
    (jobs.image_cdn_upload(), "Copying listing pictures"),
    (jobs.clear_leftovers(), "Removing old copies"),
]


def test_workers_show_their_current_job(alice: Person, subtests: pytest.Subtests) -> None:
    browser = alice.browser()
    for job, doing in DOING:
        jobs.enqueue(job)
        worker = Worker([job.queue], connection=jobs.connection(), serializer=JSONSerializer, name=job.queue)
        worker.register_birth()
        worker.set_current_job_id(job.id)
        with subtests.test(job=job.id):
            page = browser.get("/jobs").text
            assert f"{job.queue} 1" in page and doing in page
        worker.register_death()


def test_an_upload_has_the_contracts_name_in_rq(alice: Person) -> None:
    jobs.enqueue(jobs.image_cdn_upload())
    job = jobs.queue(jobs.CDN).fetch_job(jobs.image_cdn_upload().id)
    assert job
    assert job.meta == {"type": "IMAGE_CDN_UPLOAD"}
