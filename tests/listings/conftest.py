"""A fake PMS on this machine, and Alice's account there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from portal.demo.pms.hostaway import FakeHostaway
from portal.listings.models import IntegrationAccount
from portal.listings.providers.hostaway import Hostaway
from tests.factories import Person
from tests.listings import stays


@pytest.fixture
def pms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHostaway]:
    """A Hostaway with three listings of four pictures each, or as the module's SIZE says.

    Without waiting: it has no rate limit, and its tokens are valid immediately."""
    monkeypatch.setattr(Hostaway, "limits", ())
    for side in (Hostaway, FakeHostaway):
        monkeypatch.setattr(side, "valid_after_s", 0.0)
    listings, pictures = getattr(request.module, "SIZE", (3, 4))
    with FakeHostaway(listings=listings, pictures=pictures) as pms:
        pms.is_limited = False
        yield pms


@pytest.fixture
def account(app: Flask, alice: Person, pms: FakeHostaway) -> IntegrationAccount:
    """Alice's account there, not synced yet; the Image CDN is on."""
    return stays.connected(alice.workspace, pms)
