"""API keys: creation, lookup by hash, scopes, revocation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts import access
from portal.accounts.models import ApiKey
from portal.db import db, now
from portal.errors import Forbidden, Invalid, NotFound, Unauthorized
from portal.work import work
from tests.factories import Person


def test_a_key_is_found_by_its_secret(alice: Person) -> None:
    made = access.create_api_key(alice.workspace, "Booking engine", made_by="Alice")
    assert access.key_of_secret(made.secret) == made.key
    assert made.secret.startswith("fr_live_") and made.secret.startswith(made.key.hint)
    assert len(made.secret) - len(made.key.hint) >= 27  # 160 bits stay unknown


def test_only_its_hash_is_kept(alice: Person) -> None:
    made = access.create_api_key(alice.workspace, "Booking engine")
    row = db.session.execute(select(ApiKey.__table__).where(ApiKey.id == made.key.id)).one()
    assert made.secret not in str(row)


@pytest.mark.parametrize("secret", ["", "fr_live_", "fr_live_unknown", "\ud800"])
def test_an_unknown_secret_finds_no_key(alice: Person, secret: str) -> None:
    with pytest.raises(Unauthorized):
        access.key_of_secret(secret)


def test_a_revoked_key_stops_working_immediately(alice: Person) -> None:
    made = access.create_api_key(alice.workspace, "Booking engine")
    access.revoke_api_key(alice.workspace, str(made.key.uuid))
    with pytest.raises(Unauthorized):
        access.key_of_secret(made.secret)
    assert made.key not in access.api_keys(alice.workspace)


def test_revoking_twice_changes_nothing(alice: Person) -> None:
    made = access.create_api_key(alice.workspace, "Booking engine")
    first = access.revoke_api_key(alice.workspace, str(made.key.uuid)).revoked_at
    assert access.revoke_api_key(alice.workspace, str(made.key.uuid)).revoked_at == first


def test_charlie_cannot_revoke_alices_key(alice: Person, charlie: Person) -> None:
    (key,) = access.api_keys(alice.workspace)
    with pytest.raises(NotFound):
        access.revoke_api_key(charlie.workspace, str(key.uuid))
    assert access.key_of_secret(alice.key) == key


def test_a_key_can_expire(alice: Person) -> None:
    (key,) = access.api_keys(alice.workspace)
    with work():
        key.expires_at = now() - timedelta(seconds=1)
    with pytest.raises(Unauthorized):
        access.key_of_secret(alice.key)


def test_a_key_allows_exactly_its_scopes(alice: Person) -> None:
    key = access.create_api_key(alice.workspace, "Reader", scopes={"images:read"}).key
    access.require(key, "images:read")
    with pytest.raises(Forbidden):
        access.require(key, "images:write")
    with pytest.raises(Forbidden):
        access.require(key, "images:read", admin=True)


@pytest.mark.parametrize(("name", "scopes"), [("", None), ("x" * 121, None), ("Key", set()), ("Key", {"everything"})])
def test_a_key_without_a_name_or_with_unknown_scopes_is_refused(
    alice: Person, name: str, scopes: set[str] | None
) -> None:
    with pytest.raises(Invalid):
        access.create_api_key(alice.workspace, name, scopes=scopes)


def test_last_use_is_recorded_at_most_once_a_minute(alice: Person) -> None:
    (key,) = access.api_keys(alice.workspace)
    access.key_of_secret(alice.key)
    noted = key.last_used_at
    assert noted is not None
    access.key_of_secret(alice.key)
    assert key.last_used_at == noted
