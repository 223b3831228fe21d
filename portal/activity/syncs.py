"""Syncs, as jobs: an account is the job that asks its PMS for its listings, and knows how the last one went."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, func, not_, select

from portal.accounts.models import Workspace
from portal.activity.shapes import (
    DONE,
    DONE_SINCE,
    RUNNING,
    SYNC,
    WAITING,
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
from portal.listings import integrations
from portal.listings.models import IntegrationAccount, IntegrationDefinition

BETWEEN_PAGES = timedelta(seconds=15)  # due for longer than that, a sync under way has no worker: it waits


def state_of(account: IntegrationAccount, at: datetime) -> str:
    if account.started_at and account.next_at and account.next_at > at - BETWEEN_PAGES:
        return RUNNING
    if account.next_at and account.next_at <= at:
        return WAITING
    return FAILED if account.failures else DONE


def page(workspace: Workspace, state: str | None, search: str, before: int, most: int) -> list[Job]:
    at = now()
    account = IntegrationAccount
    texts = [account.name, account.host, IntegrationDefinition.provider]
    found = matching(_mine(select(account), workspace).where(account.id < before), search, [account.uuid], texts)
    rows = db.session.scalars(in_state(found, _states(at), state).order_by(account.id.desc()).limit(most))
    return [Job(SYNC, state_of(row, at), row) for row in rows]


def find(workspace: Workspace, uuid: str) -> Job | None:
    account = db.session.scalar(
        _mine(select(IntegrationAccount), workspace).where(IntegrationAccount.uuid == as_uuid(uuid))
    )
    return Job(SYNC, state_of(account, now()), account) if account else None


def counts(workspace: Workspace) -> Counts:
    at = now()
    return counted(_mine(in_each(_states(at), IntegrationAccount.synced_at > at - DONE_SINCE), workspace))


def failed(workspace: Workspace) -> Select[int]:
    return _mine(select(IntegrationAccount.id), workspace).where(_states(now())[FAILED])


def causes(workspace: Workspace) -> list[Cause]:
    columns = (IntegrationAccount.error, IntegrationAccount.host)
    found = _mine(select(*columns, func.count()), workspace).where(_states(now())[FAILED]).group_by(*columns)
    return [Cause(SYNC, error or "", host, number) for error, host, number in db.session.execute(found)]


def try_again(job: Job) -> None:
    assert isinstance(job.row, IntegrationAccount)
    integrations.sync_now(job.row)


def try_all_again(workspace: Workspace, cause: Cause | None = None) -> None:
    found = _mine(select(IntegrationAccount), workspace).where(_states(now())[FAILED])
    if cause:
        error = func.coalesce(IntegrationAccount.error, "")
        found = found.where(error == cause.reason, IntegrationAccount.host == cause.place)
    for account in db.session.scalars(found.order_by(IntegrationAccount.id)).all():
        integrations.sync_now(account)


def done_by_minute(*_: object) -> None:
    """An account remembers its last sync only, and not how many there were in an hour."""


def _mine(found: Select[*Columns], workspace: Workspace) -> Select[*Columns]:
    mine = found.join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
    return mine.where(IntegrationDefinition.workspace_id == workspace.id)


def _states(at: datetime) -> dict[str, ColumnElement[bool]]:
    account = IntegrationAccount
    is_under_way = and_(account.started_at.is_not(None), account.next_at > at - BETWEEN_PAGES)
    is_due = and_(not_(is_under_way), account.next_at <= at)
    is_at_rest = and_(not_(is_under_way), account.next_at > at)
    return {
        RUNNING: is_under_way,
        WAITING: is_due,
        FAILED: and_(is_at_rest, account.failures > 0),
        DONE: and_(is_at_rest, account.failures == 0),
    }
