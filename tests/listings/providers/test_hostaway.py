"""Hostaway, over real HTTP against a fake that speaks as it does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import providers
from portal.listings.providers.account import Account
from portal.listings.providers.base import FoundListing, Page, Picture

HOSTAWAY = providers.find("hostaway")


@pytest.fixture
def pms() -> Iterator[FakeHostaway]:
    with FakeHostaway() as pms:
        pms.is_limited = False
        yield pms


def account(pms: FakeHostaway, **changed: str) -> Account:
    account = Account(HOSTAWAY, pms.credentials | changed)
    account.token = HOSTAWAY.sign_in(account)
    return account


def all_of(account: Account, cursor: str | None = None) -> list[Page]:
    return list(HOSTAWAY.pages(account, cursor))


def test_a_listing_comes_with_all_that_it_has(pms: FakeHostaway) -> None:
    (page,) = all_of(account(pms))
    assert (page.total, page.next_cursor, page.notes) == (3, None, ())
    first = page.listings[0]
    pictures = tuple(
        Picture(pms.url_of(picture), picture.description, str(picture.id))
        for picture in pms.catalogue.listings[1].pictures
    )
    assert first == FoundListing("1", "Heron House 1", pictures[0].url, pictures)
    assert len(first.pictures) == 4


def test_a_token_is_waited_for_until_it_is_good(pms: FakeHostaway) -> None:
    began = time.monotonic()
    mine = account(pms)
    assert len(all_of(mine)[0].listings) == 3
    assert time.monotonic() - began >= 1
    assert (pms.count("/v1/accessTokens"), pms.count("/v1/listings", 403)) == (1, 0)
    assert mine.token and mine.token.good_until - time.time() > 180 * 24 * 3600
