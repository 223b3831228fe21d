"""Deleting many photos: no more statements than for two, few calls to the bucket, nothing left after a crash."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from sqlalchemy import update

from portal import config, orphans, work
from portal.accounts.models import Workspace
from portal.db import db, now
from portal.garbage import Garbage
from portal.images import deletion, imports, properties
from portal.images.models import Property
from portal.infra import storage
from tests import factories
from tests.buckets import Buckets
from tests.conftest import KILLED, on_both
from tests.crashes import Steps, dies_at
from tests.factories import Person
from tests.faults import Request, bucket_behind_a_proxy
from tests.images.galleries import rows_without_pixels
from tests.listings.stays import statements

NEVER = 10**6


def delete(home: Property, uuids: list[str]) -> None:
    deletion.delete(home, uuids)


def delete_for_now(home: Property, uuids: list[str]) -> None:
    deletion.delete(home, uuids, undoable=True)


def delete_the_property(home: Property, _: list[str]) -> None:
    properties.delete(home)


@pytest.mark.parametrize("action", [delete, delete_for_now, delete_the_property])
def test_the_number_of_statements_does_not_grow_with_the_photos(
    alice: Person, action: Callable[[Property, list[str]], None]
) -> None:
    with work.work():
        db.session.execute(update(Workspace).values(plan_name="pro"))
    counts = []
    for photos in (2, 20):
        home = factories.home_of(alice.workspace)
        uuids = rows_without_pixels(home, photos)
        imports.start(home, [f"https://photos.example/{n}.jpg" for n in range(photos)])
        with statements() as asked:
            action(home, uuids)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def delete_by_id(property_id: int, keys_a_call: int) -> None:
    storage.MAX_KEYS = keys_a_call
    properties.delete(db.session.get_one(Property, property_id))


def delete_until_killed(property_id: int) -> None:
    """Delete a property, and be killed at the third call that deletes its objects."""
    calls = count(1)

    def die(*_: object, **__: object) -> None:
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    storage.cdn._client.meta.events.register("before-call.s3.DeleteObjects", die)
    delete_by_id(property_id, 100)


def everything_is_due() -> None:
    with work.work():
        db.session.execute(update(Garbage).values(next_at=now()))


@pytest.mark.parametrize("database", KILLED, indirect=True)
def test_a_deletion_killed_at_any_step_is_complete_or_did_not_happen(alice: Person, steps: Steps) -> None:
    deaths = 0
    for step in steps:
        home = factories.home_of(alice.workspace)
        home_id, objects = home.id, 3 * len(rows_without_pixels(home, 2))
        lived = dies_at(step, config.settings(), delete_by_id, home_id, 2)
        everything_is_due()
        orphans.collect()
        is_there = db.session.get(Property, home_id) is not None
        assert len(Buckets().listing()) == (objects if is_there else 0)
        if is_there:
            properties.delete(db.session.get_one(Property, home_id))
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=20)


@pytest.mark.storm
@on_both
def test_two_hundred_photos_are_deleted_from_a_slow_bucket_although_a_worker_is_killed(home: Property) -> None:
    uuids = rows_without_pixels(home, 200)
    home_id = home.id

    def slow(asked: Request) -> None:
        if asked.method == "POST":
            time.sleep(0.3)

    with bucket_behind_a_proxy() as front:
        front.answer = slow
        settings = replace(config.settings(), s3_endpoint_url=front.url)
        assert not dies_at(NEVER, settings, delete_until_killed, home_id)
        left = len(Buckets().listing())
        assert 0 < left < 3 * len(uuids), "it was killed half-way"
        everything_is_due()
        began_s, calls = time.monotonic(), len(front.asked)
        orphans.collect()
        took_s, calls = time.monotonic() - began_s, len(front.asked) - calls
        print(f"{left} objects in {calls} calls of 0.3 s: {took_s:.1f} s")
    assert not Buckets().listing()
    assert db.session.get(Property, home_id) is None
