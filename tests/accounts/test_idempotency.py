"""Idempotency keys in the domain: claims, leases, answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.accounts import idempotency
from portal.accounts.idempotency import Answer, Claim, claim, release, store_answer
from portal.accounts.models import IdempotencyRecord, Workspace
from portal.db import db, now
from portal.errors import Conflict, Invalid
from portal.images.models import Property
from portal.work import before_last_commit, work
from tests import factories
from tests.accounts.conftest import grow_old
from tests.conftest import BOTH, on_each
from tests.factories import Person

both = pytest.mark.parametrize("database", BOTH, indirect=True)


def claimed(person: Person, key: str = "k", fingerprint: str = "f") -> Claim:
    found = claim(person.workspace, key, fingerprint)
    assert isinstance(found, Claim)
    return found


def answered(person: Person, key: str = "k", fingerprint: str = "f") -> Answer:
    answer = Answer(201, '{"data":1}', "/there", now())
    mine = claimed(person, key, fingerprint)
    with work():
        store_answer(mine, answer)
    return answer


@on_each
def test_an_answer_is_replayed(alice: Person) -> None:
    answer = answered(alice)
    assert claim(alice.workspace, "k", "f") == answer


@on_each
def test_another_request_under_the_same_key_is_invalid(alice: Person) -> None:
    answered(alice)
    with pytest.raises(Invalid) as raised:
        claim(alice.workspace, "k", "another")
    assert raised.value.code == "idempotency_key_reused"


@on_each
def test_a_key_whose_request_is_still_running_is_a_conflict(alice: Person) -> None:
    claimed(alice)
    with pytest.raises(Conflict):
        claim(alice.workspace, "k", "f")


@on_each
def test_a_released_key_is_free(alice: Person) -> None:
    release(claimed(alice))
    claimed(alice, fingerprint="another")


@on_each
def test_an_answer_survives_a_late_release(alice: Person) -> None:
    mine = claimed(alice)
    with work():
        store_answer(mine, Answer(200, "", None, now()))
    release(mine)
    assert isinstance(claim(alice.workspace, "k", "f"), Answer)


@both
def test_a_claim_whose_process_died_is_free_after_a_minute(alice: Person) -> None:
    claimed(alice)
    grow_old(claimed_at=timedelta(seconds=59))
    with pytest.raises(Conflict):
        claim(alice.workspace, "k", "f")
    grow_old(claimed_at=timedelta(seconds=60))
    claimed(alice)


@both
def test_a_run_that_lost_its_lease_has_no_effect(alice: Person) -> None:
    late = claimed(alice)
    grow_old(claimed_at=timedelta(seconds=60))
    mine = claimed(alice)
    with pytest.raises(Conflict), before_last_commit(lambda: store_answer(late, Answer(201, "late", None, now()))):
        factories.home_of(alice.workspace)
    assert db.session.query(Property).count() == 0
    release(late)
    with work():
        store_answer(mine, Answer(201, "mine", None, now()))
    found = claim(alice.workspace, "k", "f")
    assert isinstance(found, Answer)
    assert found.body == "mine"


@on_each
def test_an_answer_is_kept_for_a_day(alice: Person) -> None:
    answered(alice)
    grow_old(answered_at=timedelta(hours=23, minutes=59))
    assert isinstance(claim(alice.workspace, "k", "f"), Answer)
    grow_old(answered_at=timedelta(hours=24))
    claimed(alice, fingerprint="another")


@on_each
def test_the_sweep_deletes_expired_answers(alice: Person) -> None:
    answered(alice, "old")
    grow_old(claimed_at=timedelta(hours=24, minutes=2), answered_at=timedelta(hours=24, minutes=2))
    answered(alice, "new")
    assert idempotency.delete_expired() == 1
    assert [record.key for record in db.session.query(IdempotencyRecord)] == ["new"]


@on_each
def test_keys_are_scoped_to_a_workspace(alice: Person, charlie: Person) -> None:
    answered(alice)
    claimed(charlie, fingerprint="another")


@both
def test_one_of_twenty_simultaneous_requests_gets_the_claim(alice: Person, at_once: Callable[..., list[Any]]) -> None:
    id = alice.workspace.id
    found = at_once(lambda: claim(db.session.get_one(Workspace, id), "k", "f"), *[()] * 20)
    assert len([each for each in found if isinstance(each, Claim)]) == 1
    assert len([each for each in found if isinstance(each, Conflict)]) == 19


@both
def test_one_of_twenty_simultaneous_requests_takes_over_a_dead_claim(
    alice: Person, at_once: Callable[..., list[Any]]
) -> None:
    claimed(alice)
    grow_old(claimed_at=timedelta(seconds=60))
    id = alice.workspace.id
    found = at_once(lambda: claim(db.session.get_one(Workspace, id), "k", "f"), *[()] * 20)
    assert len([each for each in found if isinstance(each, Claim)]) == 1
    assert len([each for each in found if isinstance(each, Conflict)]) == 19
