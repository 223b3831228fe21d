"""Fixtures of the API's tests."""

from __future__ import annotations

import pytest

from portal.images.models import Property
from tests import factories
from tests.apart import apart
from tests.api.manage_images import there
from tests.listings.conftest import account, pms
from tests.pages.conftest import statements

__all__ = ["account", "apart", "pms", "statements", "there"]


@pytest.fixture
def three(home: Property) -> list[str]:
    """The ids of three photos, in the order of the gallery."""
    return [str(factories.photo_in(home, factories.jpeg(32, 24)).uuid) for _ in range(3)]
