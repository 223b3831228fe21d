"""A PMS that lists in a new order each time is read again until everything was seen, and loses no listing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portal.db import db, now
from portal.demo.pms.catalogue import FakeListing
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply, PmsRequest, as_json
from portal.infra import storage
from portal.listings import integrations, removal, sync
from portal.listings.models import IntegrationAccount, SyncPage
from portal.listings.providers import hostaway
from portal.listings.sync import passes, tasks
from portal.listings.sync.passes import Pass, is_complete
from portal.work import work
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.listings.fakes.feed import FakeFeed

SIZE = 4, 1  # four listings of one picture each


@pytest.fixture(autouse=True)
def two_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", 2)


def shuffled(seed: int = 1) -> Callable[[list[FakeListing]], list[FakeListing]]:
    """A random order at each request."""
    chance = random.Random(seed)
    return lambda listings: chance.sample(listings, len(listings))


def backwards_every_other_time() -> Callable[[list[FakeListing]], list[FakeListing]]:
    """An order that alternates with each of two pages: the first half comes twice, the second never."""
    times = [0]

    def arranged(listings: list[FakeListing]) -> list[FakeListing]:
        times[0] += 1
        return listings if times[0] % 2 else listings[::-1]

    return arranged


def counting(pms: FakeHostaway, more: int) -> None:
    """Make the PMS count this many more listings than it returns."""
    say = type(pms).say

    def said(asked: PmsRequest) -> PmsReply:
        answer = say(pms, asked)
        page = json.loads(answer.body)
        return as_json(page | {"count": page["count"] + more}) if asked.path == "/v1/listings" else answer

    pms.say = said  # type: ignore[method-assign]


def ids() -> dict[str, tuple[int, str]]:
    """Each listing's id, by the id that the PMS gave it."""
    return {one.external_id: (one.id, str(one.uuid)) for one in stays.listings()}


def missing() -> list[str]:
    return [one.external_id for one in stays.listings() if one.missing_since]


@pytest.mark.parametrize(
    ("database", "listings", "syncs"),
    [("sqlite", 12, 3), *(pytest.param(database, 40, 20, marks=pytest.mark.slow) for database in BOTH)],
    indirect=["database"],
)
def test_listings_in_random_order_stay_until_they_are_removed(
    alice: Person, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch, listings: int, syncs: int
) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", listings // 4)
    for _ in range(listings - len(pms.catalogue.listings)):
        pms.catalogue.add(1)
    for one in pms.catalogue.listings.values():
        one.name = "Heron House"
    pms.arrange = shuffled()
    account = stays.synced(stays.connected(alice.workspace, pms))
    before, keys = ids(), [one.key for one in storage.cdn.list()]
    assert len(before) == listings
    for _ in range(syncs - 1):
        stays.synced_only(account)
        assert (account.found, account.total, account.error, account.note) == (listings, listings, None, None)
        assert (ids(), missing()) == (before, [])
    assert [one.key for one in storage.cdn.list()] == keys
    gone = random.Random(1).sample(list(pms.catalogue.listings), listings // 4)
    for id in gone:
        pms.catalogue.remove(id)
    stays.synced_only(account)
    assert sorted(missing()) == sorted(map(str, gone))
    stays.synced_only(account)
    removal.clear_leftovers()
    assert ids() == {external_id: its for external_id, its in before.items() if int(external_id) not in gone}
    stays.assert_copied(pms, alice.workspace)


def test_a_list_that_never_shows_everything_is_abandoned_after_some_passes_and_nothing_is_removed(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    before, synced_at, asked = ids(), account.synced_at, pms.count("/v1/listings")
    pms.arrange = backwards_every_other_time()
    for _ in range(2):  # two complete syncs would remove what they did not see
        stays.synced_only(account)
        assert (ids(), missing()) == (before, [])
    assert pms.count("/v1/listings") == asked + 2 * passes.MAX_PASSES * 2
    assert (account.found, account.total, account.error, account.failures) == (2, 4, None, 0)
    assert account.note == (
        "Hostaway counts 4 listings, but reading its list 10 times showed 2 different ones, as the order keeps "
        "changing. Nothing was removed."
    )
    assert account.synced_at == synced_at, "none of them was complete"
    assert account.next_at
    assert timedelta(minutes=14) < account.next_at - now() <= timedelta(minutes=15)
    pms.arrange = lambda listings: listings
    stays.synced_only(account)
    assert (account.found, account.note) == (4, None)
    assert account.synced_at and synced_at and account.synced_at > synced_at


def test_a_pms_that_counts_too_many_is_reread_only_once_and_removals_still_work(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    counting(pms, 2)
    stays.synced(account)
    assert pms.count("/v1/listings") == 2 * 3, "two pages and an empty one, twice"
    assert (account.found, account.total, account.note) == (4, 6, None)
    pms.catalogue.remove(3)
    stays.synced_only(account)
    assert pms.count("/v1/listings") == 2 * 3 + 3, "its two extra listings are known by now"
    assert missing() == ["3"]
    stays.synced_only(account)
    removal.clear_leftovers()
    stays.assert_copied(pms, alice.workspace)


def test_failing_pages_do_not_count_as_removed_listings(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    say = type(pms).say

    def cut_short(asked: PmsRequest) -> PmsReply:
        is_second = asked.query.get("offset") == "2"
        return say(pms, replace(asked, query=asked.query | {"offset": "9"}) if is_second else asked)

    pms.say = cut_short  # type: ignore[method-assign]
    stays.synced_only(account)
    assert (missing(), account.passes, account.error) == ([], 2, None)
    assert account.note == "Hostaway counts 4 listings but returned 2. Nothing was removed."
    stays.synced_only(account)
    assert (missing(), account.passes, account.note) == (["3", "4"], 1, None), "it stays so"
    del pms.say  # type: ignore[misc]
    stays.synced_only(account)
    assert (missing(), account.note) == ([], None)


def test_an_empty_list_with_a_higher_count_removes_nothing(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    pms.say = lambda _: as_json({"status": "success", "result": [], "count": 4})  # type: ignore[method-assign]
    for _ in range(3):
        stays.synced_only(account)
        assert (missing(), account.started_at) == ([], None)
    assert account.note == "Hostaway counts 4 listings but returned 0. Nothing was removed."


def test_a_pms_that_counts_a_hundred_million_is_read_to_an_end(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    counting(pms, 10**8)
    pms.arrange = backwards_every_other_time()
    stays.synced_only(account)
    assert (missing(), account.started_at, account.passes) == ([], None, 2)
    assert account.note == "Hostaway counts 100,000,004 listings but returned 4. Nothing was removed."


def test_a_row_that_is_no_listing_does_not_prevent_removals(account: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.twist = lambda listing: listing if listing["id"] != 2 else {"name": "A draft, without an id"}
    stays.synced(account)
    pms.catalogue.remove(4)
    stays.synced_only(account)
    assert (missing(), account.found, account.total, account.passes) == (["4"], 2, 3, 1)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_feed_without_a_count_is_read_until_all_its_rows_were_seen(alice: Person) -> None:
    with FakeFeed(listings=20, pictures=1, per_page=5) as feed:
        feed.arrange = shuffled()
        account = integrations.connect(alice.workspace, "GENERIC", feed.credentials)
        stays.synced_only(account)
        assert (account.found, account.total, account.note) == (20, None, None)
        assert account.passes > 1
        before = ids()
        feed.catalogue.remove(7)
        stays.synced_only(account)
        assert (missing(), before.keys()) == (["home-7"], ids().keys())


def test_an_interrupted_pass_resumes_from_its_cursor(account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    asked = pms.count("/v1/listings", 200)
    pms.arrange = backwards_every_other_time()
    say, calls = pms.say, [0]

    def broken(request: PmsRequest) -> PmsReply:
        calls[0] += 1
        return PmsReply(500) if calls[0] == 4 else say(request)  # the second page of the second pass

    pms.say = broken  # type: ignore[method-assign]
    stays.synced_only(account)
    assert (account.error, account.passes, account.pages) == ("The server answered 500.", 1, 3)
    pms.arrange = lambda listings: listings
    stays.all_at_once()
    sync.run()
    db.session.rollback()
    assert pms.count("/v1/listings", 200) == asked + 4, "two passes of two pages"
    assert (account.error, account.passes, account.pages, account.found, missing()) == (None, 2, 4, 4, [])
    assert db.session.scalar(select(func.count()).select_from(SyncPage)) == 0


def test_the_first_page_of_the_next_pass_does_not_count_as_a_repetition(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    (task,) = tasks._claim(1)
    found = tasks._perform(task)
    with work():
        account.passes = 1
    tasks._record([(task, found)])
    assert account.pages == 0


def test_a_sync_ends_however_many_pages_there_are(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "MAX_PAGES", 5)
    pms.arrange = backwards_every_other_time()
    stays.synced_only(account)
    assert (account.passes, account.pages, account.error) == (2, 4, None)
    assert account.note and "reading its list 2 times showed 2 different ones" in account.note
    monkeypatch.setattr(passes, "MAX_PAGES", 1)
    stays.synced_only(account)
    assert (account.pages, account.error) == (1, "The PMS's list never ends.")


def read(*pages: str, total: int | None = None) -> Pass:
    """A pass over these pages; each letter is a listing."""
    returned = "".join(pages)
    return Pass(frozenset(map(ord, returned)), len(returned), total, len(pages))


FIRST, TWO_DRAFTS = None, 2  # how many the PMS withheld before
COMPLETE = {
    "each listing once": (0, read("ab", "cd", total=4)),
    "more than the PMS counts": (0, read("ab", "cd", total=3)),
    "each listing once, of a PMS that doesn't count": (0, read("ab", "cd")),
    "an empty list": (0, read("", total=0)),
    "an empty list, of a PMS that doesn't count": (0, read("")),
    "as many as the PMS counts, and one twice": (0, read("ab", "bc", total=3)),
    "all in two passes": (0, read("ab", "bc", total=4), read("da", "ad", total=4)),
    "all in two passes, of a PMS that doesn't count": (0, read("ab", "bc"), read("da", "ad")),
    "all since the count changed": (0, read("ab", "ba", total=4), read("ab", "b", total=3), read("bc", "b", total=3)),
    "as many fewer than the PMS counts as before": (TWO_DRAFTS, read("ab", "c", total=5)),
    "the same in two passes, with as many fewer": (TWO_DRAFTS, read("ab", "a", total=5), read("bc", "c", total=5)),
    "twice fewer than the PMS counts, at first": (FIRST, read("ab", "c", total=5), read("ca", "b", total=5)),
}
INCOMPLETE = {
    "one twice in place of another": (0, read("ab", "bc", total=4)),
    "one twice, of a PMS that doesn't count": (0, read("ab", "bc")),
    "fewer than the PMS counts": (0, read("ab", "c", total=4)),
    "twice fewer than the PMS counts": (0, read("ab", "c", total=4), read("ca", "b", total=4)),
    "fewer than the PMS counts, at first, once": (FIRST, read("ab", "c", total=4)),
    "another number fewer than before": (TWO_DRAFTS, read("ab", total=5)),
    "nothing, where the PMS counts some": (TWO_DRAFTS, read("", total=2)),
    "the same half in each pass": (FIRST, *[read("ab", "ba", total=4)] * 9),
    "all in two passes between which the count changed": (0, read("ab", "ba", total=4), read("cb", "c", total=3)),
    "more in two passes than the PMS counts": (0, read("ab", "b", total=3), read("cd", "d", total=3)),
    "more in two passes than one gives": (FIRST, read("ab", "b"), read("cd", "d")),
}


def test_a_sync_is_complete_depending_on_what_its_passes_saw() -> None:
    cases = [*COMPLETE.items(), *INCOMPLETE.items()]
    seen = {case for case, (withheld, *its) in cases if is_complete(its, withheld)}
    assert seen == set(COMPLETE)
