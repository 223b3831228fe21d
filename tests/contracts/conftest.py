"""Fixtures of the contract tests."""

from __future__ import annotations

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from tests.contracts.image_cdn import ImageCdn
from tests.factories import Person
from tests.listings.conftest import pms

__all__ = ["pms"]


@pytest.fixture
def cdn(live: str, alice: Person, pms: FakeHostaway) -> ImageCdn:
    """A client of the Image CDN contract: Alice, with a connected PMS account, not synced yet. The CDN is off."""
    return ImageCdn(live, alice, pms)
