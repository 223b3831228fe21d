"""What a workspace uses of its plan, counted from the rows."""

from typing import NamedTuple

from sqlalchemy import func, select

from portal.accounts.models import Workspace
from portal.db import db
from portal.images.models import Image, Property


class Usage(NamedTuple):
    """What is stored, and the property that has most photos (None where there is no photo)."""

    properties: int
    photos: int
    size_bytes: int  # originals and large variants; thumbs and renditions are small beside them
    fullest: Property | None
    fullest_photos: int


def usage(workspace: Workspace) -> Usage:
    """Count a workspace's properties, photos and bytes, in four statements however many there are."""
    mine = Property.workspace_id == workspace.id
    homes = db.session.scalar(select(func.count()).select_from(Property).where(mine)) or 0
    size = func.coalesce(func.sum(Image.size_bytes), 0) + func.coalesce(func.sum(Image.large_size_bytes), 0)
    stored = select(func.count(), size).select_from(Image).join(Property, Image.property_id == Property.id).where(mine)
    photos, size_bytes = db.session.execute(stored).one()
    number = func.count()
    grouped = select(Image.property_id, number).join(Property, Image.property_id == Property.id).where(mine)
    fullest = db.session.execute(grouped.group_by(Image.property_id).order_by(number.desc()).limit(1)).first()
    if fullest is None:
        return Usage(homes, photos, int(size_bytes), None, 0)
    return Usage(homes, photos, int(size_bytes), db.session.get(Property, fullest[0]), fullest[1])
