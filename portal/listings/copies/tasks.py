"""IMAGE_CDN_UPLOAD: claims due ListingImages, has them fetched side by side, and records the results."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, Row, Select, and_, select, update

from portal import dispatch
from portal.accounts.models import Workspace
from portal.db import db, now, release
from portal.dispatch import Candidate, Results
from portal.errors import Conflict, NotFound
from portal.infra import jobs, storage
from portal.inventory import FACTS, Facts, StoredObject
from portal.listings import counts
from portal.listings.copies import results, selection
from portal.listings.copies.fetch import RETRY_AFTER_S, Copy, FetchResult, Target, Task, perform
from portal.listings.models import (
    WITH_ACCOUNT,
    WITH_REMOVED,
    IntegrationAccount,
    IntegrationDefinition,
    Listing,
    ListingImage,
    prefix_of,
)
from portal.pixels.picture import Picture
from portal.pixels.types import type_of
from portal.work import for_update, lock, work

LEASE = timedelta(seconds=90)  # after it, a picture whose worker died is due again
RESET_BATCH = 500  # pictures reset in one transaction
BROKEN = FetchResult(reason="Something went wrong on our side", retry_in_s=RETRY_AFTER_S[-1])
FAILED_IMAGE = and_(ListingImage.failure_reason.is_not(None), ListingImage.superseded_at.is_(None))
"""Failed images that may be tried again: only those that the PMS still lists."""


def run(
    pick: Callable[[int], list[int]] | None = None,
    record: Callable[[Results[Task, FetchResult]], None] = results.record,
) -> int:
    """Copy due pictures side by side until none is left; return the number of URLs processed.

    `pick` chooses them instead of `selection.pick`, and `record` is called instead of `results.record`.
    """
    return dispatch.run(
        partial(_claim, pick=pick),
        perform,
        record,
        limits=selection.LIMITS,
        if_perform_raises=BROKEN,
        successor=jobs.image_cdn_upload(),
        group_by=lambda task: task.listing_id,
    )


def enqueue_missing() -> None:
    """Enqueue the job if pictures are due and it is neither queued nor running."""
    if selection.due_accounts(now()):
        jobs.enqueue_missing([jobs.image_cdn_upload()])


def try_again(image: ListingImage) -> None:
    """Copy a picture once more, whatever the earlier result.

    Raises NotFound if it is gone, and Conflict if the Image CDN is off or the PMS no longer lists the picture.
    """
    with work() as w:
        listing = db.session.get(Listing, image.listing_id, options=[WITH_ACCOUNT], populate_existing=True)
        if listing is None or not lock(listing) or not lock(image):
            raise NotFound("There is no such image.", code="image_not_found")
        if not listing.account.definition.enable_images_cdn:
            raise Conflict("The Image CDN is switched off for this provider.", code="cdn_off")
        if image.superseded_at:
            raise Conflict("The PMS no longer lists this picture.", code="superseded")
        image.attempts, image.failure_reason, image.next_at = 0, None, now()
        counts.refresh([listing.id])
        w.enqueue(jobs.image_cdn_upload())


def try_all_again(images: Select[int]) -> int:
    """Retry the failed ones among these images (a SELECT of ids) whose Image CDN is on; return their number.

    Runs in transactions of RESET_BATCH images: there may be 200,000, and other writers should not wait for all.
    """
    failed = (
        select(ListingImage.id, ListingImage.listing_id)
        .join(Listing, ListingImage.listing_id == Listing.id)
        .join(IntegrationAccount, Listing.account_id == IntegrationAccount.id)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(ListingImage.id.in_(images), FAILED_IMAGE, IntegrationDefinition.enable_images_cdn)
    )
    rows = db.session.execute(failed.order_by(ListingImage.listing_id)).all()
    return sum(_reset(rows[n : n + RESET_BATCH]) for n in range(0, len(rows), RESET_BATCH))


def _reset(failed: Sequence[Row[int, int]]) -> int:
    listing_ids = {listing_id for _, listing_id in failed}
    with work() as w:
        listings = select(Listing.id).where(Listing.id.in_(listing_ids)).order_by(Listing.id)
        # Listings before their images: the lock order of all transactions.
        db.session.scalars(for_update(listings, Listing)).all()
        statement = update(ListingImage).where(ListingImage.id.in_([id for id, _ in failed]), FAILED_IMAGE)
        statement = statement.values(attempts=0, failure_reason=None, next_at=now())
        result = db.session.execute(statement.execution_options(synchronize_session=False))
        counts.refresh(list(listing_ids))
        w.enqueue(jobs.image_cdn_upload())
    return cast(CursorResult[Any], result).rowcount


def _claim(limit: int, pick: Callable[[int], list[int]] | None = None) -> list[Task]:
    """Lease due URLs within the limits; attempts are incremented before they are made, so crashes count too."""
    before: list[int] = []
    while (picked := (pick or selection.pick)(limit)) and picked != before:
        with work():  # if it only unschedules rows, because their listings are gone, pick others
            if tasks := _lease(picked):
                return tasks
        before = picked
    release()
    return []


def _lease(picked: Sequence[int]) -> list[Task]:
    """Lease these rows and those with the same URL, such as the thumbnail and a gallery picture, as one task.

    Locked listings are skipped and picked again later.
    """
    urls = select(ListingImage.listing_id, ListingImage.url_sha256).where(ListingImage.id.in_(picked)).subquery()
    free = select(Listing.id).where(Listing.id.in_(select(urls.c.listing_id))).execution_options(**WITH_REMOVED)
    free_ids = db.session.scalars(for_update(free, Listing, skip_locked=True)).all()
    same = select(ListingImage).join(
        urls,
        (ListingImage.listing_id == urls.c.listing_id) & (ListingImage.url_sha256 == urls.c.url_sha256),
    )
    same = same.where(ListingImage.listing_id.in_(free_ids))
    rows = db.session.scalars(for_update(same, ListingImage, skip_locked=True))
    groups: dict[tuple[int, str], list[ListingImage]] = {}
    for row in rows.unique():
        groups.setdefault((row.listing_id, row.url_sha256), []).append(row)
    facts = _facts_of(free_ids)
    return [task for (id, _), images in groups.items() if (task := _start_task(facts.get(id), images))]


@dataclass
class _ListingFacts:
    """The data of a listing that its tasks need."""

    listing_id: int
    workspace_id: int
    prefix: str
    is_cdn_on: bool
    objects: dict[str, Facts | None] = field(default_factory=dict)  # that its rows name, by key

    def has(self, key: str | None) -> bool:
        """Return whether a copy is stored and not known to be damaged."""
        facts = self.objects.get(key or "")
        return bool(key) and not (facts and facts.damage)


def _facts_of(listing_ids: Iterable[int]) -> dict[int, _ListingFacts]:
    """Map listing ids to their facts; listings that are gone are absent."""
    ids = sorted(set(listing_ids))
    listings = (
        select(Listing.id, Listing.workspace_id, Workspace.uuid, Listing.uuid, IntegrationDefinition.enable_images_cdn)
        .join(Workspace, Listing.workspace_id == Workspace.id)
        .join(IntegrationAccount, Listing.account_id == IntegrationAccount.id)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(Listing.id.in_(ids))
    )
    facts = {
        row[0]: _ListingFacts(row[0], row[1], prefix_of(row[2], row[3]), row[4]) for row in db.session.execute(listings)
    }
    is_object = and_(StoredObject.bucket == storage.cdn.role, StoredObject.key == ListingImage.key)
    objects = select(ListingImage.listing_id, ListingImage.key, *FACTS).outerjoin(StoredObject, is_object)
    objects = objects.where(ListingImage.listing_id.in_(facts), ListingImage.key.is_not(None))
    for listing_id, key, *columns in db.session.execute(objects):
        facts[listing_id].objects[key or ""] = Facts(*columns) if columns[0] else None
    return facts


def _start_task(listing: _ListingFacts | None, images: Sequence[ListingImage]) -> Task | None:
    """Lease the due images of one URL; None if the listing is gone, its CDN is off, or another worker has the URL."""
    at = now()
    due = [image for image in images if image.next_at and image.next_at <= at]
    busy_until = max((image.fetching_until for image in images if image.fetching_until), default=at)
    if listing is None or busy_until > at:
        for image in due:
            image.next_at = busy_until if listing else None
        return None
    if not due or not listing.is_cdn_on:
        return None
    for image in due:
        image.attempts += 1
        image.fetching_until = image.next_at = at + LEASE
    first = due[0]
    is_verified = all(listing.has(image.key) for image in due)
    condition = {"If-None-Match": first.etag, "If-Modified-Since": first.last_modified} if is_verified else {}
    other = next((image for image in images if image not in due and _has_same_bytes(listing, image, due)), None)
    return Task(
        Candidate(first.id, first.host, listing.workspace_id, is_retry=first.attempts > 1),
        listing.listing_id,
        listing.prefix,
        first.original_url,
        tuple(Target(image.id, image.type, image.position, image.key) for image in due),
        listing.objects,
        {name: value for name, value in condition.items() if value},
        _copy_of(other) if other and not is_verified else None,
        max(image.attempts for image in due),
    )


def _has_same_bytes(listing: _ListingFacts, image: ListingImage, due: Sequence[ListingImage]) -> bool:
    """Return whether an image of the same URL has an intact copy, of the version that the due ones have, if any."""
    return listing.has(image.key) and all(each.image_hash in (None, image.image_hash) for each in due)


def _copy_of(image: ListingImage) -> Copy:
    key = image.key or ""
    picture = Picture(type_of(key), image.width or 0, image.height or 0)
    sizes = (image.original_bytes or 0, image.delivered_bytes or 0)
    return Copy(image.image_hash or "", {image.id: key}, (), *sizes, picture, image.etag, image.last_modified)
