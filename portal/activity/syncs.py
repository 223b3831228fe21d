"""Syncs as jobs: an account is the job, and stores the result of its last sync."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, not_, select
from sqlalchemy.orm import InstrumentedAttribute

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, RUNNING, SYNC, WAITING, Cause
from portal.activity.source import Columns, JobSource, States
from portal.db import db
from portal.images.models import FAILED
from portal.listings import integrations
from portal.listings.models import IntegrationAccount, IntegrationDefinition

BETWEEN_PAGES = timedelta(seconds=15)  # a running sync that is due for longer has no worker, so it counts as waiting


class Syncs(JobSource[IntegrationAccount]):
    kind = SYNC
    row = IntegrationAccount
    ids = (IntegrationAccount.uuid,)
    texts = (IntegrationAccount.name, IntegrationAccount.host, IntegrationDefinition.provider)
    cause_columns = (func.coalesce(IntegrationAccount.error, ""), IntegrationAccount.host)

    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        query = query.where(IntegrationAccount.removed_at.is_(None))  # explicit, because this becomes part of a UNION
        accounts = query.join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        return accounts.where(IntegrationDefinition.workspace_id == workspace.id)

    def done_at(self) -> InstrumentedAttribute[Any]:
        return IntegrationAccount.synced_at

    def states(self, at: datetime) -> States:
        account = IntegrationAccount
        is_running = and_(account.started_at.is_not(None), account.next_at > at - BETWEEN_PAGES)
        is_due = and_(not_(is_running), account.next_at <= at)
        is_idle = and_(not_(is_running), account.next_at > at)
        return {
            RUNNING: is_running,
            WAITING: is_due,
            FAILED: and_(is_idle, account.failures > 0),
            DONE: and_(is_idle, account.failures == 0),
        }

    def state_of(self, row: IntegrationAccount, at: datetime, *more: Any) -> str:
        if row.started_at and row.next_at and row.next_at > at - BETWEEN_PAGES:
            return RUNNING
        if row.next_at and row.next_at <= at:
            return WAITING
        return FAILED if row.failures else DONE

    def done_by_minute(self, workspace: Workspace, since: datetime) -> None:
        """Return None: an account stores only its last sync, not the number per hour."""

    def try_again(self, row: IntegrationAccount) -> None:
        integrations.sync_now(row)

    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        failed = self.failures_with_cause(select(IntegrationAccount), workspace, cause)
        for account in db.session.scalars(failed.order_by(IntegrationAccount.id)).all():
            integrations.sync_now(account)
