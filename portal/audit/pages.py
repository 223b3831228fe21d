"""Read the inventory and the listing of a bucket side by side, in the order of keys, page by page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CompoundSelect, Select, select, union_all

from portal.audit.checks import Meter
from portal.db import db, release
from portal.images.models import DeletedImage, Image, Property, Rendition
from portal.infra import storage
from portal.infra.storage import MAX_KEYS, Bucket, ObjectMetadata
from portal.inventory import COPY, FACTS, LARGE, ORIGINAL, RENDITION, THUMB, Facts, StoredObject
from portal.listings.models import WITH_REMOVED, Listing, ListingImage

PAGE = MAX_KEYS  # what a listing returns at once


class Row(NamedTuple):
    """A row of the inventory, and since when its bytes have not been compared."""

    facts: Facts
    unverified_since: datetime


class Page(NamedTuple):
    """The rows and the listed objects of a range of keys."""

    rows: Sequence[Row]
    listed: dict[str, ObjectMetadata] | None  # None: nothing was listed
    until: str | None  # the range's last key; None: it reaches to the end

    def cut(self, until: str) -> "Page":
        """Return the first part of the page."""
        rows = [row for row in self.rows if row.facts.key <= until]
        listed = self.listed and {key: each for key, each in self.listed.items() if key <= until}
        return Page(rows, listed, until)


def bucket_of(role: str) -> Bucket:
    return storage.uploads if role == "uploads" else storage.cdn


def read(meter: Meter, bucket: Bucket, after: str) -> Page:
    """Return the next page. The bucket is listed before the rows are read: a row's object is written before it."""
    listed, last = _list(meter, bucket, after)
    rows = _rows(select(StoredObject).where(StoredObject.key <= last) if last else select(StoredObject), bucket, after)
    page = Page(rows, {each.key: each for each in listed}, last)
    return page.cut(rows[-1].facts.key) if len(rows) == PAGE else page


def read_workspace(bucket: Bucket, after: str, workspace_id: int) -> Page:
    """Return the next page of the objects of one workspace; nothing is listed."""
    keys = _keys_of(workspace_id)[bucket.role]
    rows = _rows(select(StoredObject).where(StoredObject.key.in_(keys)), bucket, after)
    return Page(rows, None, rows[-1].facts.key if len(rows) == PAGE else None)


def image_uuids(bucket: Bucket, objects: Sequence[Facts]) -> dict[str, UUID]:
    """Return the public ids of the photos that objects belong to, by key."""
    keys = [each.key for each in objects]
    originals, variants = (Image.original_key,), (Image.large_key, Image.thumb_key)
    columns = originals if bucket.role == "uploads" else variants
    queries = [select(column, Image.uuid).where(column.in_(keys)) for column in columns]
    if bucket.role == "cdn":
        renditions = select(Rendition.key, Image.uuid).join(Image, Rendition.image_id == Image.id)
        queries.append(renditions.where(Rendition.key.in_(keys)))
    return {key: uuid for query in queries for key, uuid in db.session.execute(query) if key}


def kind_by_key(bucket: Bucket, key: str) -> str:
    """Return what an unknown object looks like, by the layout of our keys."""
    if bucket.role == "uploads":
        return ORIGINAL
    if key.startswith("derived/"):
        return RENDITION
    if key.startswith("properties/"):
        return THUMB if key.endswith("-thumb.webp") else LARGE
    return COPY


def _list(meter: Meter, bucket: Bucket, after: str) -> tuple[list[ObjectMetadata], str | None]:
    """List what follows a key, and return the last key up to which the listing is complete, if it is truncated.

    Some servers list folder by folder, so that a-b precedes a/c: whatever such a page lacks is asked for one by one.
    """
    marker = after
    while True:
        found = meter.list(bucket, marker, PAGE)
        listed = [each for each in found.objects if each.key > after]
        if found.until is None:
            return listed, None
        if listed or found.until > after:
            return listed, max([found.until, *(each.key for each in listed)])
        marker = found.until


def _rows(query: Select[StoredObject], bucket: Bucket, after: str) -> list[Row]:
    query = query.where(StoredObject.bucket == bucket.role, StoredObject.key > after)
    query = query.order_by(StoredObject.key).limit(PAGE)
    columns = query.with_only_columns(*FACTS, StoredObject.verified_at, StoredObject.stored_at)
    columns = columns.execution_options(**WITH_REMOVED)
    rows = [Row(Facts(*row[: len(FACTS)]), row.verified_at or row.stored_at) for row in db.session.execute(columns)]
    release()
    return rows


def _keys_of(workspace_id: int) -> dict[str, CompoundSelect[str]]:
    """Return the keys of a workspace's objects, by the bucket's role."""

    def photos(column: Any, *joins: Any) -> Select[str]:
        query = select(column)
        for join in joins:
            query = query.join(*join)
        return query.join(Property).where(Property.workspace_id == workspace_id, column.is_not(None))

    copies = select(ListingImage.key).join(Listing).where(Listing.workspace_id == workspace_id)
    return {
        "uploads": photos(Image.original_key).union_all(photos(DeletedImage.original_key)),
        "cdn": union_all(
            photos(Image.large_key),
            photos(Image.thumb_key),
            photos(Rendition.key, (Image, Rendition.image_id == Image.id)),
            copies.where(ListingImage.key.is_not(None)),
        ),
    }
