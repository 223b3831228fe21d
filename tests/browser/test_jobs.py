"""The jobs page: what failed and why, updated live, without a reload."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import imports
from portal.images.models import FAILED, Image, Property
from portal.infra import jobs
from portal.work import work
from tests import factories
from tests.browser.pages import at_work, finished
from tests.factories import Person
from tests.listings import stays
from tests.outside import Reply, Seen, outside

TOO_SHORT, TOO_LARGE = "The file ends too early: a part of it is missing.", "It has more pixels than we open."


@pytest.fixture
def overview(open_page: Callable[[str], Any]) -> Callable[..., Any]:
    """Alice's browser on the jobs page."""
    return lambda query="": open_page(f"/jobs{query}")


def broken(home: Property, reasons: dict[str, str]) -> None:
    """Photos that failed once, each for its reason; their files are fine."""
    finished(home, *reasons)
    with work():
        for name, reason in reasons.items():
            failed = update(Image).where(Image.file_name == name)
            db.session.execute(failed.values(variants=FAILED, attempts=5, failure_reason=reason))


def job(page: Any, name: str) -> Any:
    return page.locator("#jobs .job", has_text=name)


def test_a_failed_job_says_why_and_its_retry_is_seen_live(overview: Callable[..., Any], home: Property) -> None:
    broken(home, {"hall.jpg": TOO_SHORT, "attic.jpg": TOO_LARGE})
    page = overview()
    assert TOO_SHORT in job(page, "hall.jpg").inner_text()
    job(page, "hall.jpg").get_by_text("Technical detail").click()
    broken(home, {"bath.jpg": TOO_LARGE})
    job(page, "bath.jpg").wait_for()  # what is open stays open when the page updates
    assert "5 attempts" in job(page, "hall.jpg").locator("pre").inner_text()
    page.get_by_role("button", name="Run again: hall.jpg").click()
    job(page, "hall.jpg").locator(".badge", has_text="Waiting").wait_for()
    with at_work(jobs.PIXELS):
        job(page, "hall.jpg").locator(".badge", has_text="Done").wait_for()
    assert TOO_LARGE in job(page, "attic.jpg").inner_text()
    assert page.locator(".pulse [data-s=fail] dd").inner_text() == "2"
    assert page.evaluate("window.isTheSame")


@pytest.mark.slow
def test_all_failures_of_one_cause_are_retried(
    overview: Callable[..., Any], home: Property, work_off: Callable[[], int]
) -> None:
    broken(home, {"hall.jpg": TOO_SHORT, "attic.jpg": TOO_LARGE, "bath.jpg": TOO_SHORT})
    page = overview("?state=failed")
    causes = page.get_by_role("list", name="Why jobs failed").get_by_role("listitem")
    assert sorted(text.split(" photo")[0] for text in causes.all_inner_texts()) == ["1", "2"]
    page.get_by_role("button", name=f"Run all of these again: {TOO_SHORT}").click()
    job(page, "bath.jpg").wait_for(state="detached")
    assert page.locator("#jobs .job").count() == 1
    assert TOO_LARGE in page.locator("#jobs").inner_text()
    assert page.evaluate("window.isTheSame")
    assert work_off() == 2
    page.goto("/jobs")
    assert page.locator("#jobs .badge", has_text="Done").count() == 2


@pytest.mark.slow
def test_progress_appears_without_a_reload(overview: Callable[..., Any], home: Property) -> None:
    quarter_turns = threading.Semaphore(0)  # each lets one more photo through

    def answer(_: Seen) -> Reply:
        quarter_turns.acquire(timeout=20)
        return Reply(body=factories.jpeg(300, 200), headers={"Content-Type": "image/jpeg"})

    with outside(answer) as host, at_work(jobs.NETWORK):
        imports.start(home, [f"{host.url}/{number}.jpg" for number in range(3)], added_by="Alice")
        page = overview()
        importing = job(page, "Import 3 photos by link")
        for done in (1, 2):
            quarter_turns.release()
            importing.get_by_text(f"{done} of 3 photos").wait_for()
        assert importing.get_by_role("progressbar").get_attribute("aria-valuenow") == "67"
        quarter_turns.release()
        importing.locator(".badge", has_text="Done").wait_for()
    assert page.evaluate("window.isTheSame")


@pytest.mark.slow
def test_a_listings_copies_appear_without_a_reload(overview: Callable[..., Any], alice: Person) -> None:
    with FakeHostaway(listings=1, pictures=4) as pms, at_work(jobs.SYNC, jobs.CDN):
        pms.fail_next(1, 404, below="/pictures/1/3.jpg")
        page = overview()
        stays.connected(alice.workspace, pms)
        job(page, "Sync Hostaway").locator(".badge", has_text="Done").wait_for()
        name = pms.catalogue.listings[1].name
        copying = job(page, f"Copy the pictures of {name}")
        copying.locator(".badge", has_text="4 of 5 copied").wait_for()
        page.get_by_role("navigation", name="Kind of job").get_by_role("link", name="Listings").click()
        assert page.locator("#jobs .job").count() == 1
        page.evaluate("window.isTheSame = true")
        page.get_by_role("button", name=f"Run again: {name}").click()
        copying.get_by_text("5 of 5 copied").wait_for()
    assert page.evaluate("window.isTheSame")
