"""Sync: what a PMS says of its listings becomes ours, page by page."""

from portal.listings.sync.tasks import begin_anew, enqueue_missing, run

__all__ = ["begin_anew", "enqueue_missing", "run"]
