"""A PMS for the jobs that have to do with one."""

from tests.listings.conftest import pms

__all__ = ["pms"]
