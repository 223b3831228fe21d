"""Listings as jobs: the Image CDN's IMAGE_CDN_UPLOAD, one job per listing rather than per picture.

The numbers of copied, failed and waiting pictures are cached on the listing (portal/listings/counts.py): an account may
have 200,000 pictures, and the page polls once a second.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, LISTING, RUNNING, WAITING, Cause, Job
from portal.activity.source import Columns, JobSource, States
from portal.db import db
from portal.images.models import FAILED
from portal.listings import copies
from portal.listings.copies.tasks import FAILED_IMAGE
from portal.listings.models import WITH_ACCOUNT, IntegrationAccount, IntegrationDefinition, Listing, ListingImage

MAX_SHOWN = 20  # failed pictures of a listing; the rest are on its page
URLS_OF_FAILED = select(func.aggregate_strings(ListingImage.original_url, " ")).where(
    ListingImage.listing_id == Listing.id, FAILED_IMAGE
)
FAILED_URLS = case((Listing.failed > 0, URLS_OF_FAILED.scalar_subquery()), else_="")  # only where there are any


class Listings(JobSource[Listing]):
    """Failures are single pictures of a listing."""

    kind = LISTING
    row = Listing
    is_large = True
    ids = (Listing.uuid,)
    texts = (Listing.name, Listing.external_id, FAILED_URLS)
    cause_columns = (ListingImage.failure_reason, ListingImage.host)

    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        """Keep a workspace's listings that have pictures and whose Image CDN is on: only those are copied."""
        on = (
            select(IntegrationAccount.id)
            .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
            .where(IntegrationDefinition.workspace_id == workspace.id, IntegrationDefinition.enable_images_cdn)
            .where(IntegrationAccount.removed_at.is_(None))  # explicit, because this becomes part of a UNION
        )
        has_pictures = Listing.copied + Listing.failed + Listing.waiting > 0
        return query.where(Listing.workspace_id == workspace.id, Listing.account_id.in_(on), has_pictures)

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        return select(Listing, _is_busy(at)).options(WITH_ACCOUNT)

    def failures(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return query.where(ListingImage.listing_id.in_(self.failed(workspace)), FAILED_IMAGE)

    def done_at(self) -> InstrumentedAttribute[Any]:
        return Listing.copied_at

    def states(self, at: datetime) -> States:
        is_busy = _is_busy(at)
        is_idle = and_(not_(is_busy), Listing.waiting == 0)
        return {
            RUNNING: is_busy,
            WAITING: and_(not_(is_busy), Listing.waiting > 0),
            FAILED: and_(is_idle, Listing.failed > 0),
            DONE: and_(is_idle, Listing.failed == 0),
        }

    def state_of(self, row: Listing, at: datetime, *more: Any) -> str:
        (is_busy,) = more
        if is_busy:
            return RUNNING
        if row.waiting:
            return WAITING
        return FAILED if row.failed else DONE

    def try_again(self, row: Listing) -> None:
        copies.try_all_again(select(ListingImage.id).where(ListingImage.listing_id == row.id))

    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        copies.try_all_again(self.failures_with_cause(select(ListingImage.id), workspace, cause))


def failed_pictures(jobs: Sequence[Job]) -> dict[int, list[ListingImage]]:
    """Map the listing ids of these jobs to their first failed pictures, in one statement."""
    ids = [job.row.id for job in jobs if job.kind == LISTING]
    rank = func.row_number().over(
        partition_by=ListingImage.listing_id, order_by=(ListingImage.position, ListingImage.id)
    )
    ranked = (
        select(ListingImage.id, rank.label("rank")).where(ListingImage.listing_id.in_(ids), FAILED_IMAGE).subquery()
    )
    first = select(ListingImage).join(ranked, ListingImage.id == ranked.c.id).where(ranked.c.rank <= MAX_SHOWN)
    found: dict[int, list[ListingImage]] = {}
    for image in db.session.scalars(first.order_by(ranked.c.rank)) if ids else ():
        found.setdefault(image.listing_id, []).append(image)
    return found


def _is_busy(at: datetime) -> ColumnElement[bool]:
    """Return the condition that a picture of the listing is being fetched; there is an index on the few that are."""
    return Listing.id.in_(select(ListingImage.listing_id).where(ListingImage.fetching_until > at))
