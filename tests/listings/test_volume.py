"""Many listings over real HTTP, within the PMS's rate limits: all correct, and nothing done twice.

Some hundred pictures here; `LISTINGS=200 pytest tests/listings/test_volume.py -m storm -n 0` takes 4,000."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copies, integrations, sync
from portal.listings.models import IntegrationAccount
from tests.conftest import BOTH
from tests.factories import Person
from tests.listings import stays

LISTINGS, PICTURES = int(os.environ.get("LISTINGS", "30")), 20
CHANGED = 5

pytestmark = [pytest.mark.storm, pytest.mark.timeout(900)]


@pytest.fixture
def pms() -> Iterator[FakeHostaway]:
    """A PMS that enforces its rate limits."""
    with FakeHostaway(listings=LISTINGS, pictures=PICTURES) as pms:
        yield pms


def synced(account: IntegrationAccount) -> None:
    """Sync and copy until nothing is due."""
    integrations.sync_now(account)
    sync.run()
    while copies.run():
        pass
    db.session.rollback()
    assert account.error is None
    assert account.synced_at


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_everything_is_copied_once_and_afterwards_only_changes(alice: Person, pms: FakeHostaway) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=True)
    account = integrations.connect(alice.workspace, "hostaway", pms.credentials)

    synced(account)
    assert len(stays.images()) == LISTINGS * (PICTURES + 1)
    stays.assert_copied(pms, alice.workspace)
    asked = {path: times for (path, _), times in pms.asked.items() if path.startswith("/pictures/")}
    assert set(asked.values()) == {1}
    assert len(asked) == LISTINGS * PICTURES

    with stays.statements() as said:
        synced(account)
    assert stays.writes(said) == []
    assert pms.count("/pictures/") == LISTINGS * PICTURES

    for n in range(CHANGED):
        pms.catalogue.change_url(1 + n * LISTINGS // CHANGED, 3 * n)
    synced(account)
    assert pms.count("/pictures/") == LISTINGS * PICTURES + CHANGED
    stays.assert_copied(pms, alice.workspace)

    assert pms.count("/", 429) == 0, "the PMS never had to refuse"
