"""Whose turn it is to be copied: found by index, though a first sync leaves a hundred thousand waiting."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import aliased

from portal.db import db, now
from portal.errands import Shares, Turn
from portal.listings.models import IntegrationDefinition, ListingImage

SIDE_BY_SIDE = 16  # in one worker, but for those that hang
SHARES = Shares(side_by_side=80, per_place=6, per_workspace=6)  # a place is a host; those that hang included
WORKSPACES, PER_WORKSPACE = 50, 100  # that are looked at for each choice


def choose(most: int) -> list[int]:
    """Return the rows to take now, within the shares of every worker."""
    busy = _busy()
    return SHARES.choose(_due(busy), busy, most)


def _busy() -> list[Turn]:
    image = ListingImage
    columns = (image.id, image.host, image.workspace_id, image.attempts > 1)
    return [Turn(*row) for row in db.session.execute(select(*columns).where(image.fetching_until > now()))]


def _due(busy: Sequence[Turn]) -> list[Turn]:
    """Return the first of each workspace that are due."""
    hosts, workspaces = SHARES.full(busy)
    image, at = ListingImage, now()
    columns = (image.id, image.host, image.workspace_id, (image.attempts > 0).label("is_suspect"))
    first = [
        select(
            select(*columns)
            .where(image.workspace_id == workspace_id, image.next_at <= at)
            .order_by(image.next_at)  # and nothing else: a hundred thousand that are due at one moment are not sorted
            .limit(PER_WORKSPACE)
            .subquery()
        )
        for workspace_id in waiting(at, but_for=workspaces)
    ]
    if not first:
        return []
    due = union_all(*first).subquery()
    return [Turn(*row) for row in db.session.execute(select(due).where(due.c.host.not_in(hosts)))]


def waiting(at: datetime, but_for: Sequence[int] = ()) -> Sequence[int]:
    """Return the workspaces that wait, the longest first, without a look at each of their rows."""
    image = aliased(ListingImage)
    oldest = (
        select(func.min(image.next_at))
        .where(image.workspace_id == IntegrationDefinition.workspace_id)
        .scalar_subquery()
    )
    found = select(IntegrationDefinition.workspace_id, oldest.label("oldest")).distinct().subquery()
    waiting = select(found.c.workspace_id).where(found.c.oldest <= at, found.c.workspace_id.not_in(but_for))
    return db.session.scalars(waiting.order_by(found.c.oldest).limit(WORKSPACES)).all()
