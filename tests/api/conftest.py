"""Fixtures of the API's tests."""

from tests.apart import apart
from tests.api.manage_images import there
from tests.listings.conftest import account, pms
from tests.pages.conftest import statements

__all__ = ["account", "apart", "pms", "statements", "there"]
