"""Sync: read the listings of due accounts page by page, and store each page in one transaction.

A due account is a task: one page is fetched and stored, and the account is due again for the next. A killed sync
therefore continues at its cursor, and many accounts share the workers. After the last page, the list may be read again
from the first: see `passes`.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import undefer

from portal import dispatch, remote
from portal.db import db, now, release
from portal.dispatch import Candidate, ConcurrencyLimits
from portal.infra import jobs
from portal.listings import counts, providers
from portal.listings.models import IntegrationAccount, IntegrationDefinition, SyncPage
from portal.listings.providers.account import PAGE_DEADLINE_S, HttpAccount
from portal.listings.providers.base import Page, Token
from portal.listings.sync import transitions
from portal.work import Work, for_update, lock, work

# A destination is a PMS's host.
LIMITS = ConcurrencyLimits(quick_tasks=16, threads=32, per_destination=4, per_workspace=4)
CANDIDATES = 200
LEASE = timedelta(seconds=120)  # after it, a page whose worker died is fetched again
RETRY_AFTER_S = (5, 30, 120)  # pauses before a page is retried; then the sync fails
MAX_ATTEMPTS = 10  # of a page, interruptions included
MAX_RESPONSES = 4  # partly stored ones held in memory, up to 20 MB each; another worker requests them again
FRESH_S = 120  # a token younger than this has not expired: the credentials are wrong


@dataclass(frozen=True)
class _Task:
    """An account as plain values, for a thread without database access."""

    candidate: Candidate
    started_at: datetime | None
    provider: str
    credentials: dict[str, str] = field(repr=False)
    token: Token | None
    passes: int
    cursor: str | None
    attempts: int


@dataclass(frozen=True)
class _FetchResult:
    """The outcome of a task: a page, or a token, or an error."""

    page: Page | None = None
    token: Token | None = None
    error: str = ""
    retry_in_s: float | None = None  # with an error: None fails the sync
    is_token_bad: bool = False
    is_cursor_bad: bool = False
    is_paced: bool = False  # delayed by our own rate limit: the attempt doesn't count


BROKEN = _FetchResult(error="Something went wrong on our side.")


def run() -> int:
    """Fetch due pages side by side until none is left; return their number."""
    return dispatch.run(
        _claim, _perform, _record, limits=LIMITS, if_perform_raises=BROKEN, successor=jobs.sync_listings()
    )


def enqueue_missing() -> int:
    """Enqueue the job if accounts are due and it is neither queued nor running; return how many are due."""
    return dispatch.enqueue_missing(IntegrationAccount.next_at, jobs.sync_listings())


def restart(w: Work, account: IntegrationAccount) -> None:
    """Start a sync from the first page, and abandon a running one. Call it under the account's lock."""
    transitions.end(account)
    account.next_at = now()
    w.enqueue(jobs.sync_listings())


def _claim(limit: int) -> list[_Task]:
    """Lease due accounts within the limits; attempts are incremented before they are made, so crashes count too."""
    in_flight = _candidates(IntegrationAccount.syncing_until > now())
    hosts, workspaces = LIMITS.saturated(in_flight)
    is_free = IntegrationAccount.host.not_in(hosts) & IntegrationDefinition.workspace_id.not_in(workspaces)
    picked = LIMITS.pick(_candidates((IntegrationAccount.next_at <= now()) & is_free), in_flight, limit)
    if not picked:
        release()
        return []
    with work():
        due = select(IntegrationAccount).where(IntegrationAccount.id.in_(picked), IntegrationAccount.next_at <= now())
        due = due.options(undefer(IntegrationAccount.credentials), undefer(IntegrationAccount.token))
        free = db.session.scalars(for_update(due, IntegrationAccount, skip_locked=True))
        return [task for account in free if (task := _start_task(account))]


def _candidates(condition: ColumnElement[bool]) -> list[Candidate]:
    account = IntegrationAccount
    query = (
        select(
            account.id,
            account.host,
            IntegrationDefinition.workspace_id,
            ((account.attempts > 0) | (account.failures > 0)).label("is_retry"),
        )
        .join(IntegrationDefinition, account.definition_id == IntegrationDefinition.id)
        .where(condition)
        .order_by(account.next_at, account.id)
        .limit(CANDIDATES)
    )
    return [Candidate(*row) for row in db.session.execute(query)]


def _start_task(account: IntegrationAccount) -> _Task | None:
    if account.started_at is None:
        account.started_at, account.cursor, account.error, account.note = now(), None, None, None
        account.passes, account.pages, account.found, account.total, account.attempts = 0, 0, 0, None, 0
        account.uploads = counts.waiting(account)
        db.session.execute(delete(SyncPage).where(SyncPage.account_id == account.id))
    if account.credentials is None:
        transitions.wait_for_key(account)
        return None
    if account.attempts >= MAX_ATTEMPTS:
        transitions.fail(account, "The sync was interrupted each time.")
        return None
    account.attempts += 1
    account.syncing_until = account.next_at = now() + LEASE
    workspace_id = account.definition.workspace_id
    return _Task(
        Candidate(account.id, account.host, workspace_id, is_retry=False),
        account.started_at,
        account.definition.provider,
        json.loads(account.credentials),
        Token(*json.loads(account.token)) if account.token else None,
        account.passes,
        account.cursor,
        account.attempts,
    )


def _perform(task: _Task) -> _FetchResult:
    """Fetch a token if there is no valid one, or else a page; never both, so that a token is stored before its use."""
    provider, at = providers.ALL[task.provider], now().timestamp()
    token = task.token if task.token and task.token.valid_until > at + PAGE_DEADLINE_S else None
    account = HttpAccount(provider, task.credentials, token)
    try:
        if token is None and (fresh := provider.sign_in(account)):
            return _FetchResult(token=fresh)
        return _FetchResult(page=_page(account, task))
    except remote.Unreachable as error:
        pause_s = RETRY_AFTER_S[task.attempts - 1] if task.attempts <= len(RETRY_AFTER_S) else None
        if pause_s is not None or error.retry_after_s is not None:
            pause_s = max(pause_s or 0, error.retry_after_s or 0)
        return _FetchResult(error=error.message, retry_in_s=pause_s, is_paced=error.code == "paced")
    except remote.RequestRefused as error:
        is_token_bad = error.code == "credentials"
        is_stale = is_token_bad and token is not None and token.valid_from < at - FRESH_S
        return _FetchResult(
            error=error.message,
            retry_in_s=0 if is_stale else None,
            is_token_bad=is_token_bad,
            is_cursor_bad=error.code == "cursor",
        )


_responses: OrderedDict[tuple[int, datetime | None, int, str | None], Iterator[Page]] = OrderedDict()
_responses_lock = threading.Lock()


def _page(account: HttpAccount, task: _Task) -> Page:
    """Return the next page: from the rest of a response that this worker holds, or else from the PMS."""
    with _responses_lock:
        pages = _responses.pop((task.candidate.id, task.started_at, task.passes, task.cursor), None)
    pages = pages or account.provider.pages(account, task.cursor)
    page = next(pages, Page(()))
    if page.has_more_parts:
        with _responses_lock:
            _responses[task.candidate.id, task.started_at, task.passes, page.next_cursor] = pages
            if len(_responses) > MAX_RESPONSES:
                _responses.popitem(last=False)
    return page


def _record(results: dispatch.Results[_Task, _FetchResult]) -> None:
    """Record the results of some tasks, each in its own transaction."""
    for task, result in results:
        with work() as w:
            _apply(w, task, result)


def _apply(w: Work, task: _Task, result: _FetchResult) -> None:
    account = db.session.get(IntegrationAccount, task.candidate.id)
    if account is None or not lock(account.definition) or not lock(account) or not _is_current(account, task):
        return  # the account was removed meanwhile, or another worker has taken over
    account.syncing_until = None
    if result.is_token_bad:
        account.token = None
    if result.page:
        transitions.store(w, account, result.page)
    elif result.token:
        account.token = json.dumps(result.token)
        account.attempts, account.next_at = 0, now()
    elif result.retry_in_s is not None:
        account.attempts -= result.is_paced
        account.error = None if result.is_paced else result.error[:300]
        account.next_at = now() + timedelta(seconds=result.retry_in_s)
    elif result.is_cursor_bad and not account.has_restarted:
        restart(w, account)
        account.has_restarted = True
    else:
        transitions.fail(account, result.error)


def _is_current(account: IntegrationAccount, task: _Task) -> bool:
    state = (task.started_at, task.passes, task.cursor, task.attempts)
    is_same = state == (account.started_at, account.passes, account.cursor, account.attempts)
    return is_same and account.removed_at is None
