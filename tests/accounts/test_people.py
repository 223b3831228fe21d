"""Workspaces and their people."""

from __future__ import annotations

import pytest

from portal.accounts import access, people
from portal.errors import Conflict, Invalid, NotFound
from tests.factories import Person


def test_a_person_is_added(alice: Person) -> None:
    dora = access.create_user(alice.workspace, " Dora@Alma.example ", admin=True)
    assert (dora.email, dora.name, dora.is_admin) == ("dora@alma.example", "dora", True)
    assert people.find(alice.workspace, str(dora.uuid)) == dora


@pytest.mark.parametrize("email", ["", "dora", "dora@", "do ra@alma.example", f"{'d' * 250}@alma.example", "a@b\n.c"])
def test_an_invalid_address_is_refused(alice: Person, email: str) -> None:
    with pytest.raises(Invalid):
        access.create_user(alice.workspace, email)


def test_a_name_that_is_too_long_is_refused(alice: Person) -> None:
    with pytest.raises(Invalid):
        access.create_user(alice.workspace, "dora@alma.example", name="d" * 121)


def test_an_address_belongs_to_one_person(alice: Person, charlie: Person) -> None:
    with pytest.raises(Conflict):
        access.create_user(charlie.workspace, "ALICE@alma.example")


def test_admins_come_first(alice: Person, bob: Person, charlie: Person) -> None:
    assert people.people(alice.workspace) == [alice.user, bob.user]


@pytest.mark.parametrize("uuid", ["theirs", "not-a-uuid", "00000000-0000-4000-8000-000000000000"])
def test_charlies_people_are_absent(alice: Person, charlie: Person, uuid: str) -> None:
    with pytest.raises(NotFound):
        people.find(alice.workspace, str(charlie.user.uuid) if uuid == "theirs" else uuid)


def test_a_workspace_needs_a_valid_and_unique_name(alice: Person) -> None:
    with pytest.raises(Conflict):
        access.create_workspace("Alma Stays")
    for name, plan in [("  ", "free"), ("x" * 121, "free"), ("New", "golden")]:
        with pytest.raises(Invalid):
            access.create_workspace(name, plan)
