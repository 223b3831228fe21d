"""Data common to jobs of all kinds: state, counts, and the cause of a failure."""

from datetime import datetime, timedelta
from typing import NamedTuple

from portal.images.models import FAILED, Image, ImportJob
from portal.listings.models import IntegrationAccount, Listing
from portal.webhooks.models import Delivery

RUNNING, WAITING, DONE = "running", "waiting", "done"  # the states of a job, besides FAILED
STATES = (RUNNING, WAITING, FAILED, DONE)
PHOTO, IMPORT, LISTING, SYNC, WEBHOOK = "photos", "imports", "listings", "syncs", "webhooks"
KINDS = (PHOTO, IMPORT, LISTING, SYNC, WEBHOOK)
DONE_SINCE = timedelta(hours=24)
FAILURES_LISTED_FOR = timedelta(days=7)  # failed links and calls; failed photos stay until they succeed


class Job(NamedTuple):
    """A row that represents work: a photo's variants, an import, a listing's copies, a sync or a delivery."""

    kind: str
    state: str
    row: Image | ImportJob | Listing | IntegrationAccount | Delivery

    @property
    def at(self) -> datetime:
        return self.row.created_at


class Counts(NamedTuple):
    """The jobs of a workspace by state; `done` covers the last 24 hours."""

    running: int
    waiting: int
    failed: int
    done: int


class Cause(NamedTuple):
    """Failures of one kind with the same reason and destination.

    `failures` counts photos, links, pictures of listings, syncs or webhook calls.
    """

    kind: str
    reason: str
    destination: str  # a host, or a webhook's URL; "" for photos
    failures: int
    can_retry: bool = True  # False if its webhook is switched off
