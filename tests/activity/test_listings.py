"""A listing's copies as one job: what the jobs page reads from the rows, and what its buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal import activity
from portal.activity.listings import MAX_SHOWN
from portal.activity.shapes import DONE_SINCE, LISTING
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import NotFound
from portal.listings import copies, integrations, sync
from portal.listings.catalogue import COPIED, FAILED, WAITING
from portal.listings.copies import tasks
from portal.listings.models import Listing, ListingImage
from portal.work import work
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.listings import rows, stays
from tests.listings.rows import BUSY, NOT_FOUND


def shown(person: Person, **asked: Any) -> list[tuple[str, str]]:
    """The jobs that are listings, newest first, with their states."""
    page = activity.page(person.workspace, kind=LISTING, **asked)
    return [(job.row.name, job.state) for job in page.items if isinstance(job.row, Listing)]


def states_of(listing: Listing) -> list[str]:
    return ["failed" if image.failure_reason else "copied" if image.key else "due" for image in rows.images(listing)]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_listing_is_in_one_state(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    rows.listing_of(account, COPIED, FAILED, WAITING, BUSY, name="Running")
    rows.listing_of(account, COPIED, FAILED, WAITING, name="Waiting")
    rows.listing_of(account, COPIED, FAILED, name="Failed")
    done = rows.listing_of(account, COPIED, COPIED, name="Done")
    rows.listing_of(account, name="No pictures")
    with work():
        done.copied_at = now()
    assert activity.counts(alice.workspace) == (1, 1, 1, 1)
    assert activity.has_failed(alice.workspace)
    assert shown(alice) == [("Done", "done"), ("Failed", "failed"), ("Waiting", "waiting"), ("Running", "running")]
    for name, state in shown(alice):
        assert shown(alice, state=state) == [(name, state)]
        (job,) = activity.page(alice.workspace, kind=LISTING, state=state).items
        assert activity.find(alice.workspace, str(job.row.uuid)) == job


def test_a_picture_whose_worker_died_waits_again(alice: Person) -> None:
    listing = rows.listing_of(rows.account_of(alice.workspace), BUSY)
    with work():
        rows.images(listing)[0].fetching_until = now() - timedelta(seconds=1)
    assert shown(alice) == [("Heron House", "waiting")]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_listing_is_no_job_while_the_image_cdn_is_off(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    for state in (COPIED, WAITING, FAILED, BUSY):
        rows.listing_of(account, state)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    assert shown(alice) == []
    assert activity.counts(alice.workspace) == (0, 0, 0, 0)
    assert not activity.has_failed(alice.workspace)
    assert activity.causes(alice.workspace) == []


def test_a_picture_removed_from_the_pms_is_no_failure(alice: Person) -> None:
    listing = rows.listing_of(rows.account_of(alice.workspace), COPIED, FAILED)
    with work():
        rows.images(listing)[1].superseded_at = now()
        db.session.flush()
        rows.counts.refresh([listing.id])
    assert shown(alice) == [("Heron House", "done")]
    assert activity.causes(alice.workspace) == []
    assert activity.failed_pictures(activity.page(alice.workspace).items) == {}


def test_done_counts_the_last_day(alice: Person) -> None:
    listing = rows.listing_of(rows.account_of(alice.workspace), COPIED)
    for at, number in ((now() - DONE_SINCE, 0), (now(), 1)):
        with work():
            listing.copied_at = at
        assert activity.counts(alice.workspace).done == number


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_listings_are_counted_in_the_minute_of_their_last_picture(alice: Person, charlie: Person) -> None:
    account = rows.account_of(alice.workspace)
    listings = [rows.listing_of(account, COPIED) for _ in range(4)]
    with work():
        for listing, minutes in zip(listings, (0, 0, 1, 61), strict=True):
            listing.copied_at = now() - timedelta(minutes=minutes)
    assert activity.jobs_per_minute(alice.workspace)[-2:] == [1, 2]
    assert sum(activity.jobs_per_minute(alice.workspace)) == 3
    assert sum(activity.jobs_per_minute(charlie.workspace)) == 0


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_causes_are_pictures_by_host_and_reason(alice: Person, charlie: Person) -> None:
    account = rows.account_of(alice.workspace)
    gone = rows.listing_of(account, FAILED, FAILED, COPIED)
    broken = rows.listing_of(account, FAILED, reason="Invalid image format")
    elsewhere = rows.listing_of(account, FAILED, host="img.example")
    found = [cause[:4] for cause in activity.causes(alice.workspace)]
    assert found == [
        (LISTING, NOT_FOUND, "cdn.example", 2),
        (LISTING, "Invalid image format", "cdn.example", 1),
        (LISTING, NOT_FOUND, "img.example", 1),
    ]
    first, *_ = activity.causes(alice.workspace)
    activity.try_all_again(charlie.workspace, first)
    activity.try_all_again(charlie.workspace)
    assert states_of(gone) == ["failed", "failed", "copied"]
    activity.try_all_again(alice.workspace, first)
    assert states_of(gone) == ["due", "due", "copied"]
    assert states_of(broken) == states_of(elsewhere) == ["failed"]
    activity.try_all_again(alice.workspace)
    assert states_of(broken) == states_of(elsewhere) == ["due"]
    assert not activity.has_failed(alice.workspace)
    assert {state for _, state in shown(alice)} == {"waiting"}


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_many_pictures_are_retried_in_batches(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESET_BATCH", 2)
    account = rows.account_of(alice.workspace)
    rows.listing_of(account, FAILED, COPIED, FAILED, FAILED)
    rows.listing_of(account, FAILED, FAILED)
    assert copies.try_all_again(select(ListingImage.id)) == 5
    assert [(one.copied, one.failed, one.waiting) for one in stays.listings()] == [(1, 0, 3), (0, 0, 2)]


def test_retrying_one_listing_retries_no_other(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    one, other = rows.listing_of(account, FAILED, COPIED), rows.listing_of(account, FAILED)
    activity.try_again(activity.find(alice.workspace, str(one.uuid)))
    assert (states_of(one), states_of(other)) == (["due", "copied"], ["failed"])


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a_search_covers_name_id_and_failed_links(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    rows.listing_of(account, COPIED, FAILED, name="Heron House 1")
    last = rows.listing_of(account, COPIED, FAILED, name="Heron House 2", host="img.example")
    for search, names in [
        ("HERON", ["Heron House 2", "Heron House 1"]),
        ("heron 2", ["Heron House 2"]),
        ("100", ["Heron House 1"]),
        ("https://img.example/101/1.jpg", ["Heron House 2"]),
        ("https://img.example/101/0.jpg", []),  # copied already
        ("nowhere", []),
        (str(last.uuid), ["Heron House 2"]),
    ]:
        assert [name for name, _ in shown(alice, search=search)] == names, search


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_only_the_first_failures_of_many_are_shown(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    many = rows.listing_of(account, COPIED, *[FAILED] * (MAX_SHOWN + 2))
    few = rows.listing_of(account, FAILED, COPIED, FAILED)
    found = activity.failed_pictures(activity.page(alice.workspace).items)
    assert [image.position for image in found[many.id]] == list(range(1, MAX_SHOWN + 1))
    assert [image.position for image in found[few.id]] == [0, 2]


def test_pages_hold_listings_once_newest_first(alice: Person) -> None:
    account = rows.account_of(alice.workspace)
    names = [rows.listing_of(account, COPIED, name=f"House {number}").name for number in range(5)]
    seen, after = [], None
    while True:
        page = activity.page(alice.workspace, limit=2, after=after)
        seen += [job.row.name for job in page.items if isinstance(job.row, Listing)]
        after = page.next_cursor
        if after is None:
            break
    assert seen == names[::-1]


def test_charlie_sees_none_of_alices_jobs(alice: Person, charlie: Person) -> None:
    listing = rows.listing_of(rows.account_of(alice.workspace), FAILED, BUSY)
    rows.listing_of(rows.account_of(charlie.workspace), COPIED, name="Corvid House")
    assert shown(charlie) == [("Corvid House", "done")]
    for search in (str(listing.uuid), "Heron", "cdn.example/100"):
        assert shown(charlie, search=search) == []
    assert activity.counts(charlie.workspace) == (0, 0, 0, 0)
    assert not activity.has_failed(charlie.workspace)
    assert activity.causes(charlie.workspace) == []
    with pytest.raises(NotFound):
        activity.find(charlie.workspace, str(listing.uuid))


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_failed_listing_is_done_once_its_pictures_are_copied(alice: Person, pms: FakeHostaway) -> None:
    """From a sync through the copies to the button, against a real server."""
    pms.fail_next(1, 404, below="/pictures/2/2.jpg")
    account = stays.connected(alice.workspace, pms)
    sync.run()
    assert {state for _, state in shown(alice)} == {"waiting"}
    assert activity.counts(alice.workspace) == (0, 3, 0, 1)
    copies.run()
    db.session.rollback()
    assert [state for _, state in shown(alice)] == ["done", "failed", "done"]
    (cause,) = activity.causes(alice.workspace)
    assert (cause.destination, cause.failures) == (pms.url.partition("://")[2], 1)
    assert sum(activity.jobs_per_minute(alice.workspace)) == 3, "one of the listings with a failed picture"
    activity.try_all_again(alice.workspace, cause)
    copies.run()
    db.session.rollback()
    assert [state for _, state in shown(alice)] == ["done"] * 3
    assert activity.counts(alice.workspace) == (0, 0, 0, 4)
    assert account.synced_at
