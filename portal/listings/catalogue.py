"""Queries for listings and their images, always scoped to a workspace."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, literal, select

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
    """Some listings, oldest first, and the cursor of the next page."""

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
    """Return a page of listings. Raises Invalid for an unknown cursor, provider or state.

    `state` selects listings with a failed picture, with a waiting picture, or with every picture copied. Listings whose
    Image CDN is off are in no state. An account that doesn't exist, or belongs to another workspace, has no listings.
    """
    query = select(Listing).where(Listing.workspace_id == workspace.id).options(WITH_ACCOUNT)
    if provider is not None:
        query = query.where(Listing.account_id.in_(_accounts(workspace, _is_of(provider))))
    if account is not None:
        account_id = select(IntegrationAccount.id).where(IntegrationAccount.uuid == as_uuid(account))
        query = query.where(Listing.account_id.in_(account_id))
    demand_known("state", state, STATES)
    if state is not None:
        query = query.where(_in_state(workspace, state))
    if after is not None:
        query = query.where(Listing.id > pagination.id_in(after, "after"))
    query = matching(query, search, (Listing.name, Listing.external_id))
    limit = max(1, min(limit, MAX_PAGE))
    rows = list(db.session.scalars(query.order_by(Listing.id).limit(limit + 1)))
    return Page(rows[:limit], pagination.cursor("after", rows[limit - 1].id) if len(rows) > limit else None)


def find(workspace: Workspace, uuid: str) -> Listing:
    """Return a listing of this workspace. Raises NotFound, also for another workspace's listing."""
    query = select(Listing).where(Listing.workspace_id == workspace.id, Listing.uuid == as_uuid(uuid))
    listing = db.session.scalar(query.options(WITH_ACCOUNT))
    if listing is None:
        raise NotFound("There is no such listing.", code="listing_not_found")
    return listing


def lock_if_present(listing: Listing) -> bool:
    """Lock a listing; return False if it or its account was removed meanwhile."""
    return lock(listing) and db.session.scalar(select(Listing.id).where(Listing.id == listing.id)) is not None


def images(listing: Listing) -> list[ListingImage]:
    """Return a listing's images: the thumbnail, the gallery in order, then those that the PMS no longer lists."""
    query = select(ListingImage).where(ListingImage.listing_id == listing.id)
    order = (
        ListingImage.superseded_at.is_not(None),
        ListingImage.type.desc(),
        ListingImage.position,
        ListingImage.id,
    )
    return list(db.session.scalars(query.order_by(*order)))


def covers(listings: Sequence[Listing]) -> dict[int, ListingImage]:
    """Map listing ids to a copied picture: the thumbnail, or else the first. Listings without one are absent."""
    first = select(ListingImage).where(
        ListingImage.listing_id.in_([listing.id for listing in listings]),
        ListingImage.position == 0,
        ListingImage.key.is_not(None),
        ListingImage.superseded_at.is_(None),
    )
    return {image.listing_id: image for image in db.session.scalars(first.order_by(ListingImage.type))}


def find_image(listing: Listing, uuid: str) -> ListingImage:
    """Return an image of this listing. Raises NotFound."""
    query = select(ListingImage).where(ListingImage.listing_id == listing.id, ListingImage.uuid == as_uuid(uuid))
    image = db.session.scalar(query)
    if image is None:
        raise NotFound("There is no such image.", code="image_not_found")
    return image


def is_referenced(key: str) -> bool:
    """Return whether a row refers to this CDN object; copies of removed listings are hidden immediately."""
    is_found = db.session.scalar(referring_to(literal(key)).limit(1)) is not None
    release()  # hold no database connection while the bytes are sent
    return is_found


def referring_to(key: ColumnElement[str]) -> Select[int]:
    """Select the images that refer to a CDN object. Excludes removed accounts by itself, for use without a session."""
    query = select(ListingImage.id).join(ListingImage.listing).join(Listing.account)
    return query.where(ListingImage.key == key, IntegrationAccount.removed_at.is_(None))


def referenced_cdn_keys(keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row refers to; the others are orphans."""
    query = select(ListingImage.key).where(ListingImage.key.in_(keys))
    return {key for key in db.session.scalars(query) if key}


def state_of(image: ListingImage) -> str:
    """Return an image's state. A failure after a success counts as failed, though the earlier copy is served.

    See tests/contracts/README.md, "Failures after a success".
    """
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
    accounts = select(IntegrationAccount.id).join(
        IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id
    )
    return accounts.where(IntegrationDefinition.workspace_id == workspace.id, condition)
