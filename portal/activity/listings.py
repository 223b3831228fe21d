"""Listings whose pictures are copied, as jobs: seed A's IMAGE_CDN_UPLOAD, one job a listing and not one a picture.

How many are copied, failed and wait stands on the listing itself (portal/listings/standing.py): an account may have
200,000 pictures, and the page asks once a second.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, select

from portal.accounts.models import Workspace
from portal.activity.shapes import (
    DONE,
    DONE_SINCE,
    LISTING,
    RUNNING,
    WAITING,
    Cause,
    Columns,
    Counts,
    Job,
    counted,
    in_each,
    in_each_minute,
    in_state,
    matching,
)
from portal.db import as_uuid, db, now
from portal.images.models import FAILED
from portal.listings import copying
from portal.listings.copying import FAILED_IMAGE
from portal.listings.models import IntegrationAccount, IntegrationDefinition, Listing, ListingImage

MAX_SHOWN = 20  # pictures of a listing that failed; the rest stand on its own page


def state_of(listing: Listing, *, is_busy: bool) -> str:
    if is_busy:
        return RUNNING
    if listing.waiting:
        return WAITING
    return FAILED if listing.failed else DONE


def page(workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
    at = now()
    found = matching(
        _mine(select(Listing.id), workspace),
        search,
        [Listing.uuid],
        [Listing.name, Listing.external_id, _failed_urls()],
    )
    if state is not None:
        found = in_state(found, _states(at), state)
    ids = found.where(Listing.id < before).order_by(Listing.id.desc()).limit(most)
    rows = select(Listing, _is_busy(at)).where(Listing.id.in_(ids)).order_by(Listing.id.desc())
    return [Job(LISTING, state_of(listing, is_busy=is_busy), listing) for listing, is_busy in db.session.execute(rows)]


def find(workspace: Workspace, uuid: str) -> Job | None:
    found = _mine(select(Listing, _is_busy(now())), workspace).where(Listing.uuid == as_uuid(uuid))
    row = db.session.execute(found).one_or_none()
    return Job(LISTING, state_of(row[0], is_busy=row[1]), row[0]) if row else None


def counts(workspace: Workspace) -> Counts:
    at = now()
    return counted(_mine(in_each(_states(at), Listing.copied_at > at - DONE_SINCE), workspace))


def failed(workspace: Workspace) -> Select[int]:
    return _mine(select(Listing.id), workspace).where(_states(now())[FAILED])


def causes(workspace: Workspace) -> list[Cause]:
    """Group pictures, not listings: those of one host that failed for one reason."""
    columns = (ListingImage.failure_reason, ListingImage.host)
    found = _failed_pictures(select(*columns, func.count()), workspace).group_by(*columns)
    return [Cause(LISTING, reason or "", host, number) for reason, host, number in db.session.execute(found)]


def try_again(job: Job) -> None:
    copying.try_all_again(select(ListingImage.id).where(ListingImage.listing_id == job.row.id))


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    found = _failed_pictures(select(ListingImage.id), workspace)
    if cause:
        found = found.where(ListingImage.failure_reason == cause.reason, ListingImage.host == cause.place)
    copying.try_all_again(found)


def done_by_minute(workspace: Workspace, since: datetime) -> Select[int, int]:
    return _mine(in_each_minute(Listing.copied_at, since), workspace)


def failed_pictures(jobs: Sequence[Job]) -> dict[int, list[ListingImage]]:
    """Return the first pictures that failed of each listing among these jobs, by its id, in one statement."""
    ids = [job.row.id for job in jobs if job.kind == LISTING]
    place = func.row_number().over(
        partition_by=ListingImage.listing_id, order_by=(ListingImage.position, ListingImage.id)
    )
    placed = (
        select(ListingImage.id, place.label("place")).where(ListingImage.listing_id.in_(ids), FAILED_IMAGE).subquery()
    )
    first = select(ListingImage).join(placed, ListingImage.id == placed.c.id).where(placed.c.place <= MAX_SHOWN)
    found: dict[int, list[ListingImage]] = {}
    for image in db.session.scalars(first.order_by(placed.c.place)) if ids else ():
        found.setdefault(image.listing_id, []).append(image)
    return found


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    """Where the Image CDN is off nothing is copied, so nothing is a job; nor is a listing without a picture."""
    on = (
        select(IntegrationAccount.id)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(IntegrationDefinition.workspace_id == workspace.id, IntegrationDefinition.enable_images_cdn)
    )
    has_pictures = Listing.copied + Listing.failed + Listing.waiting > 0
    return found.where(Listing.workspace_id == workspace.id, Listing.account_id.in_(on), has_pictures)


def _failed_pictures(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    return found.where(ListingImage.listing_id.in_(failed(workspace)), FAILED_IMAGE)


def _failed_urls() -> ColumnElement[str]:
    """The addresses of a listing's pictures that failed; looked for only where there are any."""
    its = select(func.aggregate_strings(ListingImage.original_url, " "))
    urls = its.where(ListingImage.listing_id == Listing.id, FAILED_IMAGE).scalar_subquery()
    return case((Listing.failed > 0, urls), else_="")


def _is_busy(at: datetime) -> ColumnElement[bool]:
    """Whether a picture of it is being fetched: few are, and an index has them."""
    return Listing.id.in_(select(ListingImage.listing_id).where(ListingImage.fetching_until > at))


def _states(at: datetime) -> dict[str, ColumnElement[bool]]:
    is_busy = _is_busy(at)
    is_still = and_(not_(is_busy), Listing.waiting == 0)
    return {
        RUNNING: is_busy,
        WAITING: and_(not_(is_busy), Listing.waiting > 0),
        FAILED: and_(is_still, Listing.failed > 0),
        DONE: and_(is_still, Listing.failed == 0),
    }
