"""For the tests of the contracts only."""

from __future__ import annotations

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from tests.contracts.image_cdn import ImageCdn
from tests.factories import Person
from tests.listings.conftest import pms

__all__ = ["pms"]


@pytest.fixture
def cdn(live: str, alice: Person, pms: FakeHostaway) -> ImageCdn:
    """Seed A's client: Alice, whose account of the PMS is connected and not synced yet. The Image CDN is off."""
    return ImageCdn(live, alice, pms)
