"""Signing in by password or link, signing out, and what ends a session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from portal.accounts import access
from portal.accounts.models import Session, SignInLink
from portal.db import db, now
from portal.errors import Invalid, Unauthorized
from portal.work import work
from tests.conftest import BOTH
from tests.factories import Person

PASSWORD = "correct horse battery"
FULL_COST = access.HASH_METHOD


def sessions() -> int:
    return db.session.scalar(select(func.count()).select_from(Session)) or 0


def test_a_password_signs_in(alice: Person) -> None:
    access.set_password(alice.user, PASSWORD)
    token = access.sign_in(" Alice@Alma.example ", PASSWORD)
    assert access.user_of_session(token) == alice.user


def test_a_guess_costs_32_mb_whether_or_not_the_address_is_known(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "HASH_METHOD", FULL_COST)
    access.set_password(alice.user, PASSWORD)
    assert access.user_of_session(access.sign_in("alice@alma.example", PASSWORD)) == alice.user
    checked: list[str] = []
    check = access.check_password_hash

    def noted(password_hash: str, password: str) -> bool:
        checked.append(password_hash)
        return check(password_hash, password)

    monkeypatch.setattr(access, "check_password_hash", noted)
    for email in ("alice@alma.example", "nobody@alma.example"):
        with pytest.raises(Unauthorized):
            access.sign_in(email, "wrong")
    assert [password_hash.partition("$")[0] for password_hash in checked] == ["scrypt:32768:8:1"] * 2


def test_a_wrong_password_and_an_unknown_address_are_indistinguishable(alice: Person) -> None:
    access.set_password(alice.user, PASSWORD)
    refusals = set()
    for email, password in [("alice@alma.example", "wrong"), ("nobody@alma.example", PASSWORD), ("", "")]:
        with pytest.raises(Unauthorized) as refusal:
            access.sign_in(email, password)
        refusals.add(refusal.value.message)
    assert len(refusals) == 1


def test_an_empty_password_never_signs_in_a_person_without_one(alice: Person) -> None:
    with pytest.raises(Unauthorized):
        access.sign_in("alice@alma.example", "")


@pytest.mark.parametrize("password", ["short", "x" * 201])
def test_a_password_of_a_wrong_length_is_refused(alice: Person, password: str) -> None:
    with pytest.raises(Invalid):
        access.set_password(alice.user, password)


def test_a_new_password_ends_every_session(alice: Person) -> None:
    access.set_password(alice.user, PASSWORD)
    token = access.sign_in("alice@alma.example", PASSWORD)
    access.set_password(alice.user, PASSWORD + "!")
    assert access.user_of_session(token) is None


def test_an_old_password_checked_during_a_password_change_does_not_sign_in(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking takes a moment, and the new session would outlive the change."""
    access.set_password(alice.user, "an old password")
    check = access.check_password_hash

    def slowly(password_hash: str, password: str) -> bool:
        is_right = check(password_hash, password)
        access.set_password(alice.user, "a new password")
        return is_right

    monkeypatch.setattr(access, "check_password_hash", slowly)
    with pytest.raises(Unauthorized):
        access.sign_in("alice@alma.example", "an old password")
    assert db.session.scalar(select(func.count(Session.id))) == 0


def test_a_link_signs_in_once(alice: Person) -> None:
    token = access.create_sign_in_link(alice.user)
    assert access.user_of_session(access.sign_in_by_link(token)) == alice.user
    with pytest.raises(Unauthorized):
        access.sign_in_by_link(token)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_one_of_ten_simultaneous_uses_of_a_link_signs_in(alice: Person, at_once: Callable[..., list[Any]]) -> None:
    token = access.create_sign_in_link(alice.user)
    before = sessions()
    answers = at_once(access.sign_in_by_link, *[(token,)] * 10)
    assert sorted(isinstance(answer, Unauthorized) for answer in answers) == [False] + [True] * 9
    db.session.rollback()
    assert sessions() == before + 1


def test_a_link_expires_after_a_day(alice: Person) -> None:
    token = access.create_sign_in_link(alice.user)
    with work():
        db.session.scalars(select(SignInLink)).one().expires_at = now() - timedelta(seconds=1)
    with pytest.raises(Unauthorized):
        access.sign_in_by_link(token)


def test_signing_out_ends_the_session(alice: Person) -> None:
    token = access.sign_in_by_link(access.create_sign_in_link(alice.user))
    access.sign_out(token)
    assert access.user_of_session(token) is None


def test_a_session_expires(alice: Person) -> None:
    token = access.sign_in_by_link(access.create_sign_in_link(alice.user))
    with work():
        db.session.scalars(select(Session)).one().expires_at = now() - timedelta(seconds=1)
    assert access.user_of_session(token) is None


def test_nobody_can_sign_in_with_a_dump_of_the_database(alice: Person) -> None:
    access.set_password(alice.user, PASSWORD)
    link = access.create_sign_in_link(alice.user)
    session = access.sign_in("alice@alma.example", PASSWORD)
    dump = [str(row) for table in db.metadata.sorted_tables for row in db.session.execute(select(table))]
    assert dump and not any(secret in row for row in dump for secret in (PASSWORD, link, session, alice.key))
