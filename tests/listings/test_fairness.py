"""Hanging accounts delay nobody else's sync, and nobody else's pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from flask import Flask

from portal import dispatch
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from portal.infra.jobs import Job
from portal.listings import copies, integrations, sync
from portal.listings.catalogue import WAITING
from portal.listings.copies import fetch, selection
from portal.listings.models import IntegrationAccount, ListingImage
from portal.listings.providers import account as accounts
from portal.listings.sync import tasks
from portal.work import work
from tests import factories
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import rows, stays
from tests.outside import Outside, Reply, outside
from tests.processes import until

GOOD = {"clientId": "12345", "clientSecret": "any"}

pytestmark = pytest.mark.parametrize("database", MATRIX, indirect=True)
hostile = pytest.mark.parametrize("hostile", [4, pytest.param(10, marks=pytest.mark.storm)])


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable timeouts: a test in which somebody waits for a hanging host never ends."""
    monkeypatch.setattr(accounts, "CALL_DEADLINE_S", 300)
    monkeypatch.setattr(fetch, "DEADLINE_S", 300)


@contextmanager
def hosts_that_hang(count: int) -> Iterator[list[Outside]]:
    with ExitStack() as stack:
        yield [stack.enter_context(outside(lambda _: Reply(after_s=300))) for _ in range(count)]


def people(app: Flask, count: int) -> list[Person]:
    return [factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True) for n in range(count)]


def stop(hosts: list[Outside], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
    for host in hosts:
        host.closed.set()


@hostile
@pytest.mark.usefixtures("endless")
def test_hanging_pms_delay_no_other_sync(
    app: Flask,
    charlie: Person,
    pms: FakeHostaway,
    at_once: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    hostile: int,
) -> None:
    """Charlie's sync ends before they are released."""

    def connect() -> None:
        def is_synced() -> bool:
            db.session.rollback()
            return account.synced_at is not None

        try:
            until(lambda: all(host.seen for host in hosts))
            account = stays.connected(charlie.workspace, pms)
            until(is_synced)
        finally:
            stop(hosts, monkeypatch)

    with hosts_that_hang(hostile) as hosts:
        for person, host in zip(people(app, hostile), hosts, strict=True):
            integrations.connect(person.workspace, "hostaway", GOOD | {"baseUrl": f"{host.url}/v1"})
        _, outcome = at_once(lambda do: do(), (sync.run,), (connect,))
    assert outcome is None
    assert len(stays.listings()) == 3


@hostile
@pytest.mark.usefixtures("endless")
def test_hanging_hosts_delay_no_other_pictures(
    app: Flask,
    charlie: Person,
    pms: FakeHostaway,
    at_once: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    hostile: int,
) -> None:
    """Each account has more pictures than may be fetched at once, each host is different: more than run in parallel.

    Charlie's pictures are copied before they are released."""

    def sync_his() -> None:
        def are_copied() -> bool:
            db.session.rollback()
            mine = db.session.query(ListingImage).filter_by(account_id=his_id)
            return mine.count() > 0 and mine.filter(ListingImage.key.is_(None)).count() == 0

        try:
            until(lambda: sum(len(host.seen) for host in hosts) >= selection.LIMITS.quick_tasks)
            stays.synced_only(db.session.get_one(IntegrationAccount, his_id))
            until(are_copied)
        finally:
            stop(hosts, monkeypatch)

    with hosts_that_hang(hostile) as hosts:
        others = [pms.catalogue.listings.pop(number) for number in (2, 3)]
        for person, host in zip(people(app, hostile), hosts, strict=True):
            stays.showing(pms, *(f"{host.url}/{n}.jpg" for n in range(12 * hostile)))
            stays.synced_only(stays.connected(person.workspace, pms))
        pms.catalogue.listings |= {listing.id: listing for listing in others}
        pms.twist = lambda listing: listing
        his_id = stays.connected(charlie.workspace, pms).id
        _, outcome = at_once(lambda do: do(), (copies.run,), (sync_his,))
    assert outcome is None
    assert all(len(host.seen) <= 6 for host in hosts)


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("job", [jobs.sync_listings(), jobs.image_cdn_upload()], ids=["sync", "copies"])
def test_a_run_out_of_time_enqueues_its_successor_before_waiting_for_hanging_calls(
    alice: Person, pms: FakeHostaway, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    def has_rung() -> None:
        try:
            until(lambda: host.seen)
            jobs.connection().flushall()
            monkeypatch.setattr(dispatch, "RUN_FOR_S", 0)
            until(lambda: jobs.queue(job.queue).get_job_ids() == [job.id])
        finally:
            host.closed.set()

    run = sync.run if job == jobs.sync_listings() else copies.run
    with outside(lambda _: Reply(after_s=300)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced_only(stays.connected(alice.workspace, pms))
        if run is sync.run:
            integrations.connect(alice.workspace, "hostaway", GOOD | {"baseUrl": f"{host.url}/v1"})
        assert at_once(lambda do: do(), (run,), (has_rung,))[1] is None


def test_two_hundred_due_accounts_hide_no_other(alice: Person, charlie: Person) -> None:
    integrations.connect(alice.workspace, "hostaway", GOOD)
    mine = db.session.query(IntegrationAccount).one()
    with work():
        copied = {
            "definition_id": mine.definition_id,
            "name": "",
            "credentials": mine.credentials,
            "host": "slow.example",
        }
        db.session.add_all([IntegrationAccount(**copied) for _ in range(tasks.CANDIDATES + 10)])
    his = integrations.connect(charlie.workspace, "hostaway", GOOD)
    taken = [task.candidate.id for _ in range(2) for task in tasks._claim(16)]
    assert his.id in taken
    assert len(taken) <= 5


def test_many_accounts_with_waiting_pictures_hide_no_other(
    alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "ACCOUNTS", 2)
    for n in range(3):
        stays.told(rows.account_of(alice.workspace, f"Alma {n}"))
    his = stays.told(rows.account_of(charlie.workspace))[0]
    mine = stays.listings()[0]
    chosen = [db.session.get_one(ListingImage, id).listing_id for id in selection.pick(4)]
    assert sorted(chosen) == sorted([mine.id, his.id] * 2)


def test_a_saturated_host_hides_no_picture_on_another(
    alice: Person, charlie: Person, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in an account with more pictures there than are looked at, and among as many workspaces that wait for it."""
    monkeypatch.setattr(selection, "ACCOUNTS", 5)
    monkeypatch.setattr(selection, "PER_ACCOUNT", 10)
    rows.listing_of(rows.account_of(alice.workspace), *[rows.BUSY] * 6, host="busy.example")
    for n in range(selection.ACCOUNTS):
        other = factories.person(app, f"Waiting {n}", f"{n}@waiting.example", admin=True)
        rows.listing_of(rows.account_of(other.workspace), WAITING, host="busy.example")
    account = rows.account_of(charlie.workspace)
    rows.listing_of(account, *[WAITING] * selection.PER_ACCOUNT, host="busy.example")
    free = rows.listing_of(account, WAITING, host="free.example")
    db.session.rollback()
    looks = [selection.pick(16) for _ in range(50)]
    assert [image.id for image in rows.images(free)] in looks
