"""Large bodies are fetched a few at a time."""

import pytest

from portal.errors import TooMany
from portal.remote.large import LargeDownloads


def test_slots_are_limited_and_given_back() -> None:
    downloads = LargeDownloads(max_concurrent=2, patience_s=0)
    with downloads.admitting() as first, downloads.admitting() as second, downloads.admitting() as third:
        first()
        second()
        with pytest.raises(TooMany):
            third()
    with downloads.admitting() as again:
        again()


def test_small_bodies_take_no_slot() -> None:
    downloads = LargeDownloads(max_concurrent=1, patience_s=0)
    with downloads.admitting(), downloads.admitting() as admit:
        admit()
