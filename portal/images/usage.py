"""A workspace's usage of its plan, counted from the rows."""

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import func, select

from portal.accounts.models import Workspace
from portal.db import db, now
from portal.images import imports, uploads
from portal.images.models import PENDING, Image, ImportItem, ImportJob, Property, Upload


class Usage(NamedTuple):
    """Stored properties, photos and bytes, and the property with the most photos (None if there are no photos)."""

    properties: int
    photos: int
    size_bytes: int  # originals and large variants; thumbnails and renditions are comparatively small
    fullest: Property | None
    fullest_photos: int


class ImportUsage(NamedTuple):
    """This month's import budget, in images."""

    used: int  # images imported so far
    pending: int  # reserved by imports in progress
    limit: int
    resets_at: datetime


class OutstandingUploads(NamedTuple):
    """Uploads that were presigned but not confirmed yet."""

    unconfirmed: int
    limit_per_property: int
    next_expires_at: datetime | None


def usage(workspace: Workspace) -> Usage:
    """Count a workspace's properties, photos and bytes, always with at most four statements."""
    in_workspace = Property.workspace_id == workspace.id
    properties = db.session.scalar(select(func.count()).select_from(Property).where(in_workspace)) or 0
    size = func.coalesce(func.sum(Image.size_bytes), 0) + func.coalesce(func.sum(Image.large_size_bytes), 0)
    stored = select(func.count(), size).select_from(Image).join(Property, Image.property_id == Property.id)
    photos, size_bytes = db.session.execute(stored.where(in_workspace)).one()
    number = func.count()
    grouped = select(Image.property_id, number).join(Property, Image.property_id == Property.id).where(in_workspace)
    fullest = db.session.execute(grouped.group_by(Image.property_id).order_by(number.desc()).limit(1)).first()
    if fullest is None:
        return Usage(properties, photos, int(size_bytes), None, 0)
    return Usage(properties, photos, int(size_bytes), db.session.get(Property, fullest[0]), fullest[1])


def imports_this_month(workspace: Workspace) -> ImportUsage:
    """Count this calendar month's imports (UTC). Pending ones have reserved their part of the budget."""
    budget = imports.budget(workspace)
    waiting = (
        select(func.count())
        .select_from(ImportItem)
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(Property.workspace_id == workspace.id, ImportJob.month == budget.month, ImportItem.state == PENDING)
    )
    pending = min(db.session.scalar(waiting) or 0, budget.used)
    year, month = map(int, budget.month.split("-"))
    resets_at = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return ImportUsage(budget.used - pending, pending, budget.limit, resets_at)


def outstanding(workspace: Workspace) -> OutstandingUploads:
    """Count the uploads that may still be confirmed."""
    waiting = (
        select(func.count(), func.min(Upload.expires_at))
        .join(Property, Upload.property_id == Property.id)
        .where(
            Property.workspace_id == workspace.id,
            Upload.confirmed_at.is_(None),
            Upload.refusal.is_(None),
            Upload.expires_at > now(),
        )
    )
    count, expires_at = db.session.execute(waiting).one()
    limit = uploads.OUTSTANDING_PER_PLAN * workspace.plan.images_per_property
    return OutstandingUploads(count, limit, expires_at)
