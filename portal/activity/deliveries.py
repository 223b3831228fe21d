"""Webhook deliveries, as jobs: those that wait or failed. What arrived stands on its webhook's own page."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, false, func, select

from portal.accounts.models import Workspace
from portal.activity.shapes import (
    CONCERNS_FOR,
    DONE,
    RUNNING,
    WAITING,
    WEBHOOK,
    Cause,
    Columns,
    Counts,
    Job,
    counted,
    in_each,
    in_state,
    matching,
)
from portal.db import as_uuid, db, now
from portal.images.models import FAILED
from portal.webhooks import delivery
from portal.webhooks.activity import IS_OPEN, REASON
from portal.webhooks.models import DELIVERED, PENDING, Delivery, Endpoint


def state_of(delivery: Delivery) -> str:
    """An attempt takes seconds, so that none is shown as running."""
    return {PENDING: WAITING, DELIVERED: DONE}.get(delivery.state, FAILED)


def page(workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
    found = _mine(select(Delivery), workspace).where(IS_OPEN, Delivery.id < before)
    found = matching(found, search, [Delivery.uuid, Endpoint.uuid], [Delivery.event, Endpoint.url])
    rows = db.session.scalars(in_state(found, _states(now()), state).order_by(Delivery.id.desc()).limit(most))
    return [Job(WEBHOOK, state_of(one), one) for one in rows]


def find(workspace: Workspace, uuid: str) -> Job | None:
    one = db.session.scalar(_mine(select(Delivery), workspace).where(Delivery.uuid == as_uuid(uuid)))
    return Job(WEBHOOK, state_of(one), one) if one else None


def counts(workspace: Workspace) -> Counts:
    return counted(_mine(in_each(_states(now()), false()), workspace).where(IS_OPEN))


def failed(workspace: Workspace) -> Select[int]:
    return _mine(select(Delivery.id), workspace).where(IS_OPEN, _states(now())[FAILED])


def causes(workspace: Workspace) -> list[Cause]:
    is_on = Endpoint.disabled_at.is_(None)
    found = _mine(select(REASON, Endpoint.url, func.count(), is_on), workspace).where(IS_OPEN, _states(now())[FAILED])
    grouped = found.group_by(REASON, Endpoint.url, is_on)
    return [Cause(WEBHOOK, *row) for row in db.session.execute(grouped)]


def try_again(job: Job) -> None:
    assert isinstance(job.row, Delivery)
    delivery.send_again(job.row)


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    wanted = failed(workspace)
    if cause:
        wanted = wanted.where(REASON.in_([cause.reason]), Endpoint.url == cause.place)
    delivery.send_all_again(list(db.session.scalars(wanted)))


def done_by_minute(*_: object) -> None:
    """What arrived is no job any more."""


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    return found.join(Endpoint, Delivery.endpoint_id == Endpoint.id).where(Endpoint.workspace_id == workspace.id)


def _states(at: datetime) -> dict[str, ColumnElement[bool]]:
    is_recent = func.coalesce(Delivery.last_at, Delivery.created_at) > at - CONCERNS_FOR
    return {
        RUNNING: false(),
        WAITING: Delivery.state == PENDING,
        FAILED: and_(Delivery.state == FAILED, is_recent),
        DONE: false(),
    }
