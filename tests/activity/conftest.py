"""A PMS for jobs that involve one."""

from tests.listings.conftest import pms

__all__ = ["pms"]
