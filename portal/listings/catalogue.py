"""Listings and their images, found and listed; each through its workspace."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, select

from portal.accounts.models import Workspace
from portal.db import as_uuid, db, release
from portal.errors import Invalid, NotFound, demand_known
from portal.infra import pagination
from portal.infra.search import matching
from portal.listings.models import WITH_ACCOUNT, IntegrationAccount, IntegrationDefinition, Listing, ListingImage
from portal.listings.providers import find as find_provider
from portal.work import lock

MAX_PAGE = 100
COPIED, WAITING, FAILED = "copied", "waiting", "failed"
STATES = (COPIED, WAITING, FAILED)


class Page(NamedTuple):
    """Some listings, the first that were found first, and where the next ones begin."""

    items: list[Listing]
    next_cursor: str | None


def page(
    workspace: Workspace,
    *,
    after: str | None = None,
    limit: int = 50,
    search: str = "",
    provider: str | None = None,
    account: str | None = None,
    state: str | None = None,
) -> Page:
    """Return listings from a cursor on. Raises Invalid for a cursor, provider or state that is none of ours.

    `state` keeps those with a picture that failed or waits, or where every picture has its copy; where the Image CDN
    is off, a listing is in none. An account that is absent, or another workspace's, has none.
    """
    found = select(Listing).where(Listing.workspace_id == workspace.id).options(WITH_ACCOUNT)
    if provider is not None:
        found = found.where(Listing.account_id.in_(_accounts(workspace, _is_of(provider))))
    if account is not None:
        named = select(IntegrationAccount.id).where(IntegrationAccount.uuid == as_uuid(account))
        found = found.where(Listing.account_id.in_(named))
    demand_known("state", state, STATES)
    if state is not None:
        found = found.where(_in_state(workspace, state))
    if after is not None:
        found = found.where(Listing.id > pagination.id_in(after, "after"))
    found = matching(found, search, (Listing.name, Listing.external_id))
    limit = max(1, min(limit, MAX_PAGE))
    rows = list(db.session.scalars(found.order_by(Listing.id).limit(limit + 1)))
    return Page(rows[:limit], pagination.cursor("after", rows[limit - 1].id) if len(rows) > limit else None)


def find(workspace: Workspace, uuid: str) -> Listing:
    """Return a listing of this workspace. Raises NotFound; foreign equals absent."""
    mine = select(Listing).where(Listing.workspace_id == workspace.id, Listing.uuid == as_uuid(uuid))
    listing = db.session.scalar(mine.options(WITH_ACCOUNT))
    if listing is None:
        raise NotFound("There is no such listing.", code="listing_not_found")
    return listing


def hold(listing: Listing) -> bool:
    """Lock a listing; False where it is gone, or its account was removed meanwhile."""
    return lock(listing) and db.session.scalar(select(Listing.id).where(Listing.id == listing.id)) is not None


def images(listing: Listing) -> list[ListingImage]:
    """Return a listing's records: the thumbnail's, the gallery's in order, then what the PMS doesn't name any more."""
    mine = select(ListingImage).where(ListingImage.listing_id == listing.id)
    order = (
        ListingImage.superseded_at.is_not(None),
        ListingImage.type.desc(),
        ListingImage.position,
        ListingImage.id,
    )
    return list(db.session.scalars(mine.order_by(*order)))


def covers(listings: Sequence[Listing]) -> dict[int, ListingImage]:
    """Return a copied picture of each listing that has one, by the listing's id: its thumbnail, else its first."""
    first = select(ListingImage).where(
        ListingImage.listing_id.in_([listing.id for listing in listings]),
        ListingImage.position == 0,
        ListingImage.key.is_not(None),
        ListingImage.superseded_at.is_(None),
    )
    return {image.listing_id: image for image in db.session.scalars(first.order_by(ListingImage.type))}


def find_image(listing: Listing, uuid: str) -> ListingImage:
    """Return a record of this listing. Raises NotFound."""
    mine = select(ListingImage).where(ListingImage.listing_id == listing.id, ListingImage.uuid == as_uuid(uuid))
    image = db.session.scalar(mine)
    if image is None:
        raise NotFound("There is no such image.", code="image_not_found")
    return image


def is_named(key: str) -> bool:
    """Whether a row names this object of the CDN bucket: what was removed is dark at once."""
    named = select(ListingImage.id).join(ListingImage.listing)
    found = db.session.scalar(named.where(ListingImage.key == key).limit(1)) is not None
    release()  # no connection is held while bytes travel
    return found


def named_in_cdn(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row names: the others are nobody's."""
    named = select(ListingImage.key).where(ListingImage.key.in_(keys))
    return {key for key in db.session.scalars(named) if key}


def state_of(image: ListingImage) -> str:
    """How a record stands: a failure after a success is a failure, though its copy is served on (A9)."""
    if image.failure_reason:
        return FAILED
    return COPIED if image.key else WAITING


def _is_of(provider: str) -> ColumnElement[bool]:
    try:
        return IntegrationDefinition.provider == find_provider(provider).key
    except NotFound as unknown:
        raise Invalid(unknown.message, code="provider") from None


def _in_state(workspace: Workspace, state: str) -> ColumnElement[bool]:
    states = {
        FAILED: Listing.failed > 0,
        WAITING: Listing.waiting > 0,
        COPIED: and_(Listing.copied > 0, Listing.failed == 0, Listing.waiting == 0),
    }
    return and_(
        states[state], Listing.account_id.in_(_accounts(workspace, IntegrationDefinition.enable_images_cdn.is_(True)))
    )


def _accounts(workspace: Workspace, condition: ColumnElement[bool]) -> Select[int]:
    mine = select(IntegrationAccount.id).join(
        IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id
    )
    return mine.where(IntegrationDefinition.workspace_id == workspace.id, condition)
