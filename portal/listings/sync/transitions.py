"""State transitions of a sync: how a page, the end of a pass or an error changes the account."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete

from portal import config
from portal.db import db, now
from portal.listings import removal
from portal.listings.models import IntegrationAccount, SyncPage
from portal.listings.providers.base import Page
from portal.listings.sync import passes, upsert
from portal.listings.sync.passes import Pass
from portal.work import Work

LONGEST_PAUSE = timedelta(hours=24)  # between syncs that fail


def store(w: Work, account: IntegrationAccount, page: Page) -> None:
    """Store a page; the last page ends a pass."""
    read = passes.add(account, page, upsert.take_in(w, account, page.listings))
    account.note = account.note or (page.notes[0][:300] if page.notes else None)
    account.attempts, account.error, account.cursor = 0, None, page.next_cursor
    account.next_at = now()
    if page.next_cursor is None:
        _end_pass(w, account, read)
    elif account.pages >= passes.MAX_PAGES:
        fail(account, "The PMS's list never ends.")


def fail(account: IntegrationAccount, error: str) -> None:
    """End a sync with an error. No listing is removed; the pause before the next sync doubles with each failure."""
    end(account)
    account.failures += 1
    account.error = error[:300]
    pause = timedelta(minutes=config.settings().sync_every_min) * 2 ** min(account.failures - 1, 10)
    account.next_at = now() + min(pause, LONGEST_PAUSE)


def end(account: IntegrationAccount) -> None:
    """Clear the state of the running sync: its cursor, and the pages that it stored."""
    account.started_at = account.syncing_until = account.cursor = None
    account.attempts, account.has_begun_anew = 0, False
    db.session.execute(delete(SyncPage).where(SyncPage.account_id == account.id))


def _end_pass(w: Work, account: IntegrationAccount, read: Sequence[Pass]) -> None:
    """End the sync if it is complete or has used up its passes; otherwise read the list again from its first page."""
    if passes.is_whole(read, account.withheld):
        removal.remove_missing(w, account)
        account.synced_at = now()
    elif passes.may_read_again(read):
        return
    else:
        account.note = passes.shortfall(account, read)
    end(account)
    account.withheld, account.failures = passes.withheld(read, account.withheld), 0
    account.next_at = now() + timedelta(minutes=config.settings().sync_every_min)
