"""For the tests of the API only."""

from tests.apart import apart

__all__ = ["apart"]
