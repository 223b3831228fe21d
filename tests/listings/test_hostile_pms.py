"""A PMS whose API lies, floods, repeats itself and hangs: its sync ends with a sentence, and our data stay."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply, PmsRequest, as_json
from portal.dispatch import recorder
from portal.listings import integrations, sync
from portal.listings.models import IntegrationAccount
from portal.listings.providers import account as accounts
from portal.listings.providers import hostaway, normalize, paging
from portal.listings.providers.base import FoundListing
from portal.listings.sync import tasks, upsert
from portal.work import Work, work
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.listings import stays

SIZE = 3, 1  # three listings of one picture each


def listing(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": f"House {number}", "listingImages": [], **more}


def page(*listings: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    return {"status": "success", "result": listings, "count": count}


def answering(pms: FakeHostaway, *said: PmsReply) -> None:
    """Make the PMS answer these in order, and the last one forever."""
    answers = itertools.chain(said, itertools.repeat(said[-1]))
    pms.say = lambda _: next(answers)  # type: ignore[method-assign]


def end_of_sync(account: IntegrationAccount) -> str | None:
    """Sync until it has ended, however many runs it takes; return the error it shows."""
    integrations.sync_now(account)
    for _ in range(30):
        stays.all_at_once()
        sync.run()
        db.session.rollback()
        if account.started_at is None:
            return account.error
    raise AssertionError("it never ends")


MAX_VALUES, MAX_BYTES = 10_000, 100_000  # sign-in here; the real limits: test_account.py
WRONG: dict[str, tuple[PmsReply, str]] = {
    "no JSON": (PmsReply(200, b"<html>Maintenance</html>"), "Hostaway's response is not valid JSON."),
    "half a JSON": (
        PmsReply(200, b'{"status": "success", "result": [{"id": 1'),
        "Hostaway's response is not valid JSON.",
    ),
    "brackets without end": (PmsReply(200, b"[" * MAX_VALUES), "Hostaway's response is not valid JSON."),
    "a list": (as_json([listing(1)]), "Hostaway's response has an unexpected format."),
    "a failure with a 200": (as_json({"status": "fail"}), "Hostaway's response has an unexpected format."),
    "no listings": (as_json({"status": "success"}), "Hostaway's response has an unexpected format."),
    "no ids": (as_json(page(listing(1) | {"id": None})), "Hostaway's response has an unexpected format."),
    "the wrong kinds": (as_json(page(1, "a", None)), "Hostaway's response has an unexpected format."),  # type: ignore[arg-type]
    "many empty values": (
        PmsReply(200, b"[" + b"{}," * MAX_VALUES + b"{}]"),
        "Hostaway's response contains too many values.",
    ),
    "too much": (PmsReply(200, b'{"status": "' + b"x" * MAX_BYTES + b'"}'), "The response is too large."),
    "packed": (
        PmsReply(200, b"{}", {"Content-Encoding": "gzip"}),
        "The response is compressed, though not requested.",
    ),
    "elsewhere": (
        PmsReply(302, b"", {"Location": "http://10.0.0.1/v1/listings"}),
        "This host has no public address.",
    ),
    "a 500": (PmsReply(500, b"Traceback: secret"), "The server answered 500."),
    "a 418": (PmsReply(418), "The server answered 418."),
}


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a_page_that_cannot_be_stored_breaks_no_other_sync(
    account: IntegrationAccount, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_upsert(w: Work, its: IntegrationAccount, found: Sequence[FoundListing]) -> list[int]:
        if its.id == account.id:
            db.session.execute(text("SELECT no_such_column FROM listing"))
        return kept(w, its, found)

    kept = upsert.store_listings
    monkeypatch.setattr(upsert, "store_listings", failing_upsert)
    monkeypatch.setattr(recorder, "AGAIN_AFTER_S", (0,))
    with FakeHostaway() as pms:
        his = stays.connected(charlie.workspace, pms)
        sync.run()
        db.session.rollback()
        assert his.synced_at
    assert (account.synced_at, account.attempts) == (None, 1)


def test_an_unusable_response_ends_the_sync_with_a_sentence_and_removes_nothing(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "RETRY_AFTER_S", (0,))
    monkeypatch.setattr(accounts, "MAX_VALUES", MAX_VALUES)
    monkeypatch.setattr(accounts, "MAX_RESPONSE_BYTES", MAX_BYTES)
    stays.synced(account)
    there, seen = stays.objects(), {}
    for case, (said, _) in WRONG.items():
        answering(pms, said)
        errors = [end_of_sync(account) for _ in range(2)]  # a listing that two complete syncs missed is removed
        seen[case] = errors, [(one.external_id, one.missing_since) for one in stays.listings()]
    kept = [("1", None), ("2", None), ("3", None)]
    assert seen == {case: ([error] * 2, kept) for case, (_, error) in WRONG.items()}
    assert stays.objects() == there
    assert all(map(stays.is_cdn, stays.shown_urls()))


@pytest.mark.parametrize("calls", ["token", "page"])
def test_a_hanging_pms_is_abandoned_after_its_deadline(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch, calls: str
) -> None:
    """It answers only after it was abandoned."""
    monkeypatch.setattr(accounts, "CALL_DEADLINE_S", 0.3)
    monkeypatch.setattr(tasks, "RETRY_AFTER_S", ())
    if calls == "token":
        with work():
            account.token = None
    answer, was_left = pms.answer, threading.Event()

    def slow(asked: PmsRequest) -> PmsReply:
        was_left.wait(60)
        return answer(asked)

    pms.answer = slow  # type: ignore[method-assign]
    try:
        assert end_of_sync(account) == "The server took too long to answer."
    finally:
        was_left.set()


def test_endless_pages_end(account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGES", 6)
    monkeypatch.setattr(hostaway, "PER_PAGE", 1)
    numbers = itertools.count(1)
    pms.say = lambda _: as_json(page(listing(next(numbers)), count=10**8))  # type: ignore[method-assign]
    assert end_of_sync(account) == "Hostaway's response has too many pages."
    assert len(stays.listings()) == 5, "the received listings stay, and are updated the next time"


def test_an_endlessly_repeated_page_ends(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostaway, "PER_PAGE", 2)
    answering(pms, as_json(page(listing(1), listing(2), count=10**8)))
    assert end_of_sync(account) == "Hostaway's response repeats earlier pages."
    assert len(stays.listings()) == 2


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_ten_thousand_pictures_of_one_listing_are_truncated(account: IntegrationAccount, pms: FakeHostaway) -> None:
    images = [{"url": f"{pms.url}/pictures/{n}.jpg", "sortOrder": n} for n in range(10_000)]
    answering(pms, as_json(page(listing(1, listingImages=images), listing(2), count=2)))
    stays.synced_only(account)
    assert account.error is None
    assert len(stays.listings()[0].pictures) == normalize.MAX_PICTURES
    assert len(stays.images()) == normalize.MAX_PICTURES + 1


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_texts_that_no_database_stores_are_repaired(account: IntegrationAccount, pms: FakeHostaway) -> None:
    odd = "a\0b\ud800c" + "x" * 5000
    images = [
        {"url": "http://127.0.0.1/a\0.jpg", "caption": odd},
        {"url": f"{pms.url}/pictures/\ud800.jpg", "caption": odd},
        {"url": f"{pms.url}/pictures/1/1.jpg", "caption": odd, "id": odd, "sortOrder": float("nan")},
        {"url": ["http://127.0.0.1/1.jpg"], "caption": {"a": 1}},
        {"url": "javascript:alert(1)"},
    ]
    body = json.dumps(page(listing(1, name=odd, listingImages=images), listing(2), count=2))
    answering(pms, PmsReply(200, body.encode()))
    stays.synced(account)
    assert account.error is None
    first = stays.listings()[0]
    assert first.name.startswith("abcxxx")
    assert [picture["url"] for picture in first.pictures] == [f"{pms.url}/pictures/1/1.jpg"]
    assert all(image.key for image in stays.images())
