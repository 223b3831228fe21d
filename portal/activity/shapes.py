"""How any job is shown, of whatever kind: its state, what it is counted as, what it failed for."""

from datetime import datetime, timedelta
from typing import NamedTuple

from portal.images.models import FAILED, Image, ImportJob
from portal.listings.models import IntegrationAccount, Listing
from portal.webhooks.models import Delivery

RUNNING, WAITING, DONE = "running", "waiting", "done"  # beside FAILED, the states a job is shown in
STATES = (RUNNING, WAITING, FAILED, DONE)
PHOTO, IMPORT, LISTING, SYNC, WEBHOOK = "photos", "imports", "listings", "syncs", "webhooks"
KINDS = (PHOTO, IMPORT, LISTING, SYNC, WEBHOOK)
DONE_SINCE = timedelta(hours=24)
CONCERNS_FOR = timedelta(days=7)  # a link or a call that failed is nobody's business for ever; a photo is


class Job(NamedTuple):
    """A row that is work to do, or was: a photo's variants, an import, a listing's copies, a sync, a delivery."""

    kind: str
    state: str
    row: Image | ImportJob | Listing | IntegrationAccount | Delivery

    @property
    def at(self) -> datetime:
        return self.row.created_at


class Counts(NamedTuple):
    """How many jobs of a workspace are in which state; `done` counts those of the last 24 hours."""

    running: int
    waiting: int
    failed: int
    done: int


class Cause(NamedTuple):
    """What failed for the same reason at the same place: a host's links, a webhook's calls, or just photos.

    `jobs` counts what failed: photos, links, a listing's pictures, syncs, calls.
    """

    kind: str
    reason: str
    place: str
    jobs: int
    may_run: bool = True  # False: its webhook is switched off
