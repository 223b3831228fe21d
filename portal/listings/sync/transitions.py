"""State transitions of a sync: how a page, the end of a pass or an error changes the account."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete

from portal import config
from portal.db import db, now
from portal.infra.encrypted import RETRY_UNREADABLE_AFTER, UNREADABLE
from portal.listings import removal
from portal.listings.models import IntegrationAccount, SyncPage
from portal.listings.providers.base import Page
from portal.listings.sync import passes, upsert
from portal.listings.sync.passes import Pass
from portal.work import Work

MAX_PAUSE = timedelta(hours=24)  # after failed syncs


def store(w: Work, account: IntegrationAccount, page: Page) -> None:
    """Store a page; the last page ends a pass."""
    so_far = passes.record_page(account, page, upsert.store_listings(w, account, page.listings))
    account.note = account.note or (page.notes[0][:300] if page.notes else None)
    account.attempts, account.error, account.cursor = 0, None, page.next_cursor
    account.next_at = now()
    if page.next_cursor is None:
        _end_pass(w, account, so_far)
    elif account.pages >= passes.MAX_PAGES:
        fail(account, "The PMS's list never ends.")


def fail(account: IntegrationAccount, error: str) -> None:
    """End a sync with an error. No listing is removed; the pause before the next sync doubles with each failure."""
    end(account)
    account.failures += 1
    account.error = error[:300]
    pause = timedelta(minutes=config.settings().sync_every_min) * 2 ** min(account.failures - 1, 10)
    account.next_at = now() + min(pause, MAX_PAUSE)


def wait_for_key(account: IntegrationAccount) -> None:
    """Postpone a sync whose credentials can't be read; it is no failure of the PMS, so the pause doesn't grow."""
    end(account)
    account.error = f"{UNREADABLE.format('the credentials')} If the key is lost, edit the account and enter them again."
    account.next_at = now() + RETRY_UNREADABLE_AFTER


def end(account: IntegrationAccount) -> None:
    """Clear the state of the running sync: its cursor and its SyncPages."""
    account.started_at = account.syncing_until = account.cursor = None
    account.attempts, account.has_restarted = 0, False
    db.session.execute(delete(SyncPage).where(SyncPage.account_id == account.id))


def _end_pass(w: Work, account: IntegrationAccount, so_far: Sequence[Pass]) -> None:
    """End the sync if it is complete or has used up its passes; otherwise read the list again from its first page."""
    if passes.is_complete(so_far, account.withheld):
        removal.remove_missing(w, account)
        account.synced_at = now()
    elif passes.should_read_again(so_far):
        return
    else:
        account.note = passes.why_incomplete(account, so_far)
    end(account)
    account.withheld, account.failures = passes.withheld(so_far, account.withheld), 0
    account.next_at = now() + timedelta(minutes=config.settings().sync_every_min)
