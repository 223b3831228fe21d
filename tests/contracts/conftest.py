"""Fixtures of the contract tests."""

from __future__ import annotations

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from portal.images.models import Property
from portal.webhooks import endpoints
from tests.contracts.image_cdn import ImageCdn
from tests.contracts.manage import Manager
from tests.factories import Person
from tests.listings.conftest import pms

__all__ = ["pms"]


@pytest.fixture
def cdn(live: str, alice: Person, pms: FakeHostaway) -> ImageCdn:
    """A client of the Image CDN contract: Alice, with a connected PMS account, not synced yet. The CDN is off."""
    return ImageCdn(live, alice, pms)


@pytest.fixture
def manager(live: str, alice: Person, home: Property) -> Manager:
    """A client of the Manage Property Images contract: Alice, with a property and a webhook for its events."""
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    return Manager(live, alice, home)
