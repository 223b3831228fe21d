"""Sync: listings arrive page by page, once; unchanged ones are not written; missing ones are removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from portal import dispatch
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply, PmsRequest
from portal.listings import integrations, removal, sync
from portal.listings.models import IntegrationAccount
from portal.listings.providers import hostaway, paging
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.listings.fakes.feed import FakeFeed


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_sync_stores_listings_and_their_pictures(alice: Person, pms: FakeHostaway) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
    stays.synced(account)
    assert [listing.name for listing in stays.listings()] == [each.name for each in pms.catalogue.listings.values()]
    first, fake = stays.listings()[0], pms.catalogue.listings[1]
    assert first.thumbnail_url == pms.url_of(fake.pictures[0])
    assert [picture["url"] for picture in first.pictures] == [pms.url_of(picture) for picture in fake.pictures]
    assert [picture["description"] for picture in first.pictures] == [each.description for each in fake.pictures]
    stays.assert_copied(pms, alice.workspace)
    assert (account.started_at, account.error, account.failures) == (None, None, 0)
    assert pms.count("/v1/accessTokens") == 1
    assert account.synced_at
    assert account.next_at
    assert timedelta(minutes=14) < account.next_at - now() <= timedelta(minutes=15)


def test_a_second_sync_requests_no_picture_and_writes_no_listing(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    downloads = pms.count("/pictures/")
    assert downloads == 12, "the thumbnail is the first of the gallery: one download"
    with stays.statements() as asked:
        stays.synced(account)
    assert stays.writes(asked) == []
    assert pms.count("/pictures/") == downloads


def test_without_the_switch_nothing_is_copied(alice: Person, pms: FakeHostaway) -> None:
    stays.synced(stays.connected(alice.workspace, pms, enabled=False))
    assert len(stays.listings()) == 3
    assert stays.images() == []
    assert pms.count("/pictures/") == 0


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_listing_missing_from_two_syncs_is_removed(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    pms.catalogue.remove(2)
    stays.synced(account)
    assert [listing.missing_since is not None for listing in stays.listings()] == [False, True, False]
    stays.synced(account)
    removal.clear_leftovers()
    stays.assert_copied(pms, alice.workspace)
    assert len(stays.listings()) == 2


def test_a_listing_missing_from_one_sync_stays(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    skipped = pms.catalogue.listings.pop(2)
    stays.synced(account)
    pms.catalogue.listings[2] = skipped
    stays.synced(account)
    assert [listing.missing_since for listing in stays.listings()] == [None, None, None]


def test_a_sync_resumes_from_its_cursor(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", 1)
    pms.fail_next(1, 500, below="/v1/listings")
    sync.run()
    db.session.rollback()
    assert account.error == "The server answered 500."
    assert account.attempts == 1
    stays.all_at_once()
    pms.catalogue.add(2)
    sync.run()
    db.session.rollback()
    assert (len(stays.listings()), account.pages, account.error) == (4, 4, None)


def test_a_sync_queues_pictures_up_to_the_limit_minus_those_waiting(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due() -> int:
        return sum(image.next_at is not None and image.next_at <= now() for image in stays.images())

    monkeypatch.setattr(hostaway.Hostaway, "uploads_per_sync", 10)
    stays.synced_only(account)
    assert (account.uploads, due()) == (15, 10)
    integrations.switch_image_cdn(account.definition.workspace, "hostaway", enabled=False)
    integrations.switch_image_cdn(account.definition.workspace, "hostaway", enabled=True)
    pms.catalogue.add(4)
    stays.synced_only(account)
    assert (account.uploads, due()) == (20, 10), "the limit is shown as long as it applies"


def test_refetched_pictures_count_like_new_ones(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PMS that signs its links again at each sync, although thousands of them are dead."""

    def signed_again(listing: dict[str, Any]) -> dict[str, Any]:
        images = [image | {"url": f"{image['url']}?signature=new"} for image in listing["listingImages"]]
        return listing | {"listingImages": images}

    pms.fail_next(99, 404, below="/pictures/")
    stays.synced(account)
    monkeypatch.setattr(hostaway.Hostaway, "uploads_per_sync", 10)
    pms.twist = signed_again
    stays.synced_only(account)
    due = [image for image in stays.images() if image.next_at and image.next_at <= now()]
    assert (len(due), account.uploads) == (10, 15)


def test_a_response_stored_in_parts_is_requested_once(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_LISTINGS_PER_PAGE", 2)
    with FakeFeed(listings=7, pictures=1) as feed:
        account = integrations.connect(alice.workspace, "GENERIC", feed.credentials)
        for times in (1, 2):
            stays.synced_only(account)
            assert (account.pages, account.error, feed.count("/export/")) == (4, None, times)
    assert len(stays.listings()) == 7


def test_a_pms_that_asks_for_a_pause_gets_it(account: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.fail_next(1, PmsReply(429, headers={"Retry-After": "77"}), below="/v1/listings")
    sync.run()
    db.session.rollback()
    assert account.next_at
    assert timedelta(seconds=70) < account.next_at - now() <= timedelta(seconds=77)


def test_a_failing_sync_removes_nothing_and_waits_longer_each_time(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    pauses = []
    for _ in range(3):
        pms.fail_next(4, 502, below="/v1/listings")
        for _ in range(4):
            stays.all_at_once()
            sync.run()
        db.session.rollback()
        assert account.error == "The server answered 502."
        assert account.next_at
        pauses.append(round((account.next_at - now()).total_seconds() / 60))
    assert pauses == [15, 30, 60]
    assert len(stays.listings()) == 3


@pytest.mark.parametrize("database", MATRIX, indirect=True)
@pytest.mark.parametrize("status", [410, *(pytest.param(status, marks=pytest.mark.slow) for status in (400, 404))])
def test_a_sync_restarts_immediately_when_the_pms_rejects_its_cursor(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", 1)
    stays.synced(account)
    asked = pms.count("/v1/listings")
    rejects_page(pms, 2, status)
    stays.synced_only(account)
    assert (account.error, account.failures, account.pages, account.found) == (None, 0, 3, 3)
    assert pms.count("/v1/listings") == asked + 2 + 3
    assert [listing.missing_since for listing in stays.listings()] == [None, None, None]
    rejects_page(pms, 2, status)
    stays.synced_only(account)
    assert (account.error, account.failures) == (None, 0), "once per sync"


def test_a_sync_fails_when_its_cursor_is_rejected_again(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", 1)
    stays.synced(account)
    asked = pms.count("/v1/listings")
    rejects_page(pms, 2, 410, times=2)
    stays.synced_only(account)
    assert (account.error, account.failures) == ("Hostaway no longer accepts the cursor of this sync.", 1)
    assert pms.count("/v1/listings") == asked + 2 + 2
    assert account.next_at and account.next_at > now() + timedelta(minutes=14)
    rejects_page(pms, 2, 410)
    stays.synced_only(account)
    assert (account.error, account.failures, account.pages) == (None, 0, 3)


def rejects_page(pms: FakeHostaway, page: int, status: int, *, times: int = 1) -> None:
    """Refuse this page that many times, whatever is requested before and after it."""
    left = [times]
    say = type(pms).say

    def refused(asked: PmsRequest) -> PmsReply:
        if asked.path == "/v1/listings" and asked.query["offset"] == str(page - 1) and left[0]:
            left[0] -= 1
            return PmsReply(status)
        return say(pms, asked)

    pms.say = refused  # type: ignore[method-assign]


def test_refused_credentials_end_the_sync(alice: Person, pms: FakeHostaway) -> None:
    account = integrations.connect(alice.workspace, "HOSTAWAY", pms.credentials | {"clientSecret": "wrong"})
    sync.run()
    db.session.rollback()
    assert (account.error, account.failures) == ("Hostaway rejected these credentials.", 1)


def test_a_token_that_was_revoked_is_replaced_once(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    pms.tokens = dict.fromkeys(pms.tokens, 2.0**40)  # no token is valid any more
    stays.synced(account)
    assert (account.error, pms.count("/v1/accessTokens")) == (None, 1)


def test_a_pms_that_signs_us_in_and_then_refuses_ends_the_sync_with_one_token(
    alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "RUN_FOR_S", 8)  # in case it never ends
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
    pms.fail_next(1000, 403, below="/v1/listings")  # a key without permission to read them
    sync.run()
    db.session.rollback()
    assert (account.error, account.failures) == ("Hostaway rejected these credentials.", 1)
    assert (pms.count("/v1/accessTokens"), pms.count("/v1/listings")) == (1, 1)
