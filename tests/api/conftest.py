"""For the tests of the API only."""

from tests.apart import apart
from tests.listings.conftest import account, pms
from tests.pages.conftest import statements

__all__ = ["account", "apart", "pms", "statements"]
