"""Webhook deliveries as jobs: the pending and failed ones. Successful ones are only on their webhook's page."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, false, func, select
from sqlalchemy.orm import joinedload

from portal.accounts.models import Workspace
from portal.activity.shapes import DONE, FAILURES_LISTED_FOR, RUNNING, WAITING, WEBHOOK, Cause
from portal.activity.source import Columns, JobSource, States
from portal.db import db
from portal.images.models import FAILED
from portal.webhooks import delivery
from portal.webhooks.activity import IS_OPEN, REASON
from portal.webhooks.models import DELIVERED, PENDING, Delivery, Endpoint


class Deliveries(JobSource[Delivery]):
    kind = WEBHOOK
    row = Delivery
    ids = (Delivery.uuid, Endpoint.uuid)
    texts = (Delivery.event, Endpoint.url)
    cause_columns = (REASON, Endpoint.url, Endpoint.disabled_at.is_(None))

    def in_workspace(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return query.join(Endpoint, Delivery.endpoint_id == Endpoint.id).where(Endpoint.workspace_id == workspace.id)

    def listed(self, query: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
        return self.in_workspace(query, workspace).where(IS_OPEN)

    def rows(self, at: datetime) -> Select[*tuple[Any, ...]]:
        return select(Delivery).options(joinedload(Delivery.endpoint))

    def states(self, at: datetime) -> States:
        is_recent = func.coalesce(Delivery.last_at, Delivery.created_at) > at - FAILURES_LISTED_FOR
        return {
            RUNNING: false(),
            WAITING: Delivery.state == PENDING,
            FAILED: and_(Delivery.state == FAILED, is_recent),
            DONE: false(),
        }

    def state_of(self, row: Delivery, at: datetime, *more: Any) -> str:
        """Return the state of a delivery. None counts as running, because an attempt takes seconds at most."""
        return {PENDING: WAITING, DELIVERED: DONE}.get(row.state, FAILED)

    def try_again(self, row: Delivery) -> None:
        delivery.send_again(row)

    def try_all_again(self, workspace: Workspace, cause: Cause | None = None) -> None:
        failed = self.failures_with_cause(select(Delivery.id), workspace, cause)
        delivery.send_all_again(list(db.session.scalars(failed)))
