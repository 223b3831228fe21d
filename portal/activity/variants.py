"""Photos as jobs: an image row is itself the job that renders its variants."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, joinedload

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, DONE_SINCE, PHOTO, RUNNING, WAITING, Cause, Counts
from portal.activity.source import Columns, JobSource, States
from portal.db import db, now
from portal.images import variants
from portal.images.models import FAILED, PENDING, READY, Image, Property

IS_OPEN = Image.variants != literal_column(f"'{READY}'")  # a literal, so that SQLite uses the partial index
RUNS_AT_MOST = timedelta(seconds=120)  # portal.infra.jobs.make_variants' time limit; then it waits again


class Photos(JobSource[Image]):
    kind = PHOTO
    row = Image
    is_large = True
    ids = (Image.uuid, Property.uuid)
    texts = (Image.file_name, Property.name)
    cause_columns = (func.coalesce(Image.failure_reason, ""),)  # photos have no destination

    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return query.join(Property, Image.property_id == Property.id).where(Property.workspace_id == workspace.id)

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        return select(Image).options(joinedload(Image.property))

    def done_at(self) -> InstrumentedAttribute[Any]:
        return Image.ready_at

    def states(self, at: datetime) -> States:
        started = and_(Image.started_at.is_not(None), Image.started_at > at - RUNS_AT_MOST)
        return {
            FAILED: and_(IS_OPEN, Image.variants == FAILED),
            DONE: Image.variants == READY,
            RUNNING: and_(IS_OPEN, Image.variants == PENDING, started),
            WAITING: and_(IS_OPEN, Image.variants == PENDING, ~started),
        }

    def state_of(self, row: Image, at: datetime, *more: Any) -> str:
        if row.variants == FAILED:
            return FAILED
        if row.variants == READY:
            return DONE
        return RUNNING if row.started_at and row.started_at > at - RUNS_AT_MOST else WAITING

    def counts(self, workspace: Workspace) -> Counts:
        """Count in one statement, each state by its own index: most photos were done long ago."""
        at = now()
        states = self.states(at)
        was_done = and_(states[DONE], Image.ready_at > at - DONE_SINCE)
        conditions = (states[RUNNING], states[WAITING], states[FAILED], was_done)
        sums = [
            self.in_workspace(select(func.count(Image.id)), workspace).where(each).scalar_subquery()
            for each in conditions
        ]
        return Counts(*db.session.execute(select(*sums)).one())

    def causes(self, workspace: Workspace) -> list[Cause]:
        query = self.failures(select(*self.cause_columns, func.count()), workspace).group_by(*self.cause_columns)
        return [Cause(PHOTO, reason, "", number) for reason, number in db.session.execute(query)]

    def try_again(self, row: Image) -> None:
        variants.try_again(row)

    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        variants.try_all_again(workspace, None if cause is None else cause.reason)


def file_names(workspace: Workspace, image_ids: Collection[int | str]) -> dict[int | str, str]:
    """Map image ids to file names; images of other workspaces are absent."""
    if not image_ids:
        return {}
    named = Photos().in_workspace(select(Image.id, Image.file_name), workspace).where(Image.id.in_(image_ids))
    return {row.id: row.file_name for row in db.session.execute(named)}
