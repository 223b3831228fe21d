"""Imports by URL as jobs: progress counted from their items, and the links that failed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, func, not_, select
from sqlalchemy.orm import InstrumentedAttribute, joinedload, selectinload

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, FAILURES_LISTED_FOR, IMPORT, RUNNING, WAITING, Cause
from portal.activity.source import Columns, JobSource, States
from portal.db import db, now
from portal.images import imports
from portal.images.models import FAILED, ImportItem, ImportJob, Property

ITEMS = selectinload(ImportJob.items)  # one statement for the items of all listed imports
URLS = select(ImportItem.url).where(ImportItem.job_id == ImportJob.id).order_by(ImportItem.position)
FIRST_URL = func.coalesce(URLS.limit(1).scalar_subquery(), "")


class Imports(JobSource[ImportJob]):
    """Failures are single links of an import."""

    kind = IMPORT
    row = ImportJob
    ids = (ImportJob.uuid, Property.uuid)
    texts = (Property.name, FIRST_URL)
    cause_columns = (func.coalesce(ImportItem.message, ""), ImportItem.host)

    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return query.join(Property, ImportJob.property_id == Property.id).where(Property.workspace_id == workspace.id)

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        return select(ImportJob).options(joinedload(ImportJob.property), ITEMS)

    def failures(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        failures = self.in_workspace(query.join(ImportJob, ImportItem.job_id == ImportJob.id), workspace)
        return failures.where(ImportJob.completed_at > now() - FAILURES_LISTED_FOR, imports.FAILED_ITEM)

    def done_at(self) -> InstrumentedAttribute[Any]:
        return ImportJob.completed_at

    def states(self, at: datetime) -> States:
        items = select(ImportItem.id).where(ImportItem.job_id == ImportJob.id)
        is_busy = exists(items.where(ImportItem.fetching_until > at))
        is_open = ImportJob.completed_at.is_(None)
        has_failed = and_(ImportJob.completed_at > at - FAILURES_LISTED_FOR, exists(items.where(imports.FAILED_ITEM)))
        return {
            RUNNING: and_(is_open, is_busy),
            WAITING: and_(is_open, not_(is_busy)),
            FAILED: and_(not_(is_open), has_failed),
            DONE: and_(not_(is_open), not_(has_failed)),
        }

    def state_of(self, row: ImportJob, at: datetime, *more: Any) -> str:
        if row.completed_at is None:
            is_busy = any(item.fetching_until and item.fetching_until > at for item in row.items)
            return RUNNING if is_busy else WAITING
        return FAILED if row.completed_at > at - FAILURES_LISTED_FOR and any(map(imports.may_try, row.items)) else DONE

    def try_again(self, row: ImportJob) -> None:
        imports.try_again(row)

    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        """Retry failed links, import by import. Raises OverQuota; imports before that one stay retried."""
        failed = self.failures_with_cause(select(ImportItem.job_id), workspace, cause)
        for job in db.session.scalars(select(ImportJob).where(ImportJob.id.in_(failed)).order_by(ImportJob.id)).all():
            imports.try_again(job, because=(cause.destination, cause.reason) if cause else None)
