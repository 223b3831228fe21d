"""The counts on each listing equal those of its pictures, whatever happens to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import Invalid
from portal.listings import catalogue, copies, counts, integrations, sync
from portal.listings.catalogue import COPIED, FAILED, WAITING
from portal.listings.counts import Counts
from portal.listings.models import IntegrationAccount, ListingImage
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays


def numbers() -> list[tuple[int, int, int]]:
    """The counts on each listing: copied, failed, waiting."""
    db.session.rollback()
    return [(listing.copied, listing.failed, listing.waiting) for listing in stays.listings()]


def counted() -> list[tuple[int, int, int]]:
    """The same, counted from the pictures."""
    found = []
    for listing in stays.listings():
        states = Counter(catalogue.state_of(image) for image in stays.images(listing) if not image.superseded_at)
        found.append((states[COPIED], states[FAILED], states[WAITING]))
    return found


def failed_ids() -> Any:
    return select(ListingImage.id).where(ListingImage.failure_reason.is_not(None))


@pytest.fixture
def broken(account: IntegrationAccount, pms: FakeHostaway) -> IntegrationAccount:
    """A synced account; two pictures of the second listing, one of which is also its thumbnail, were missing."""
    for number in (1, 2):
        pms.fail_next(1, 404, below=f"/pictures/2/{number}.jpg")
    return stays.synced(account)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_pictures_are_counted_as_they_are_copied(account: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.fail_next(1, 404, below="/pictures/2/2.jpg")
    sync.run()
    assert numbers() == counted() == [(0, 0, 5)] * 3
    copies.run()
    assert numbers() == counted() == [(5, 0, 0), (4, 1, 0), (5, 0, 0)]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_pictures_that_the_pms_no_longer_names_are_not_counted(broken: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.catalogue.change_url(1, 2)
    pms.catalogue.listings[3].pictures.pop()
    integrations.sync_now(broken)
    sync.run()
    assert numbers()[0] == (4, 0, 1)
    assert numbers()[2] == (4, 0, 0)
    copies.run()
    assert numbers() == counted()


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_retried_picture_counts_as_waiting(broken: IntegrationAccount) -> None:
    assert numbers() == [(5, 0, 0), (2, 3, 0), (5, 0, 0)]
    image = db.session.scalars(select(ListingImage).where(ListingImage.failure_reason.is_not(None))).first()
    assert image
    copies.try_again(image)
    assert numbers() == counted() == [(5, 0, 0), (2, 2, 1), (5, 0, 0)]
    assert copies.try_all_again(failed_ids()) == 2
    assert numbers() == counted() == [(5, 0, 0), (2, 0, 3), (5, 0, 0)]
    copies.run()
    assert numbers() == counted() == [(5, 0, 0)] * 3


def test_all_failures_are_retried_only_while_the_switch_is_on(broken: IntegrationAccount, alice: Person) -> None:
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    before = numbers()
    assert copies.try_all_again(failed_ids()) == 0
    assert numbers() == counted() == before


def test_a_new_count_is_no_change_of_the_listing(broken: IntegrationAccount, pms: FakeHostaway) -> None:
    before = [listing.updated_at for listing in stays.listings()]
    counts.refresh([listing.id for listing in stays.listings()])
    db.session.commit()
    assert [listing.updated_at for listing in stays.listings()] == before


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_the_counts_of_accounts_are_summed(broken: IntegrationAccount, alice: Person, charlie: Person) -> None:
    assert counts.by_account(alice.workspace) == {broken.id: Counts(3, 12, 3, 0, 1, 0)}
    assert counts.by_account(charlie.workspace) == {}


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_listings_are_filtered_by_state(broken: IntegrationAccount, alice: Person) -> None:
    def shown(state: str) -> list[str]:
        return [listing.external_id for listing in catalogue.page(alice.workspace, state=state).items]

    assert (shown(COPIED), shown(FAILED), shown(WAITING)) == (["1", "3"], ["2"], [])
    copies.try_all_again(failed_ids())
    assert (shown(COPIED), shown(FAILED), shown(WAITING)) == (["1", "3"], [], ["2"])
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    assert (shown(COPIED), shown(FAILED), shown(WAITING)) == ([], [], [])
    with pytest.raises(Invalid):
        shown("lost")


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_the_counts_hold_under_concurrency(
    account: IntegrationAccount, pms: FakeHostaway, at_once: Callable[..., list[Any]]
) -> None:
    for listing in range(1, 4):
        pms.fail_next(1, 404, below=f"/pictures/{listing}/1.jpg")
    stays.synced(account)
    for listing in range(1, 4):
        pms.catalogue.change_url(listing, 3)
    integrations.sync_now(account)
    one = db.session.scalars(select(ListingImage).where(ListingImage.failure_reason.is_not(None))).first()
    assert one
    image_id = one.id
    db.session.rollback()

    def again() -> None:
        image = db.session.get(ListingImage, image_id)
        assert image
        copies.try_again(image)

    errors = at_once(
        lambda act: act(),
        (sync.run,),
        (copies.run,),
        (again,),
        (lambda: copies.try_all_again(failed_ids()),),
        (copies.run,),
    )
    assert [error for error in errors if isinstance(error, Exception)] == []
    assert numbers() == counted()
    copies.run()
    assert numbers() == counted() == [(5, 0, 0)] * 3
