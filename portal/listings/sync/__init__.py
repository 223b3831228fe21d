"""Sync: reads the listings of a PMS page by page and stores them."""

from portal.listings.sync.tasks import begin_anew, enqueue_missing, run

__all__ = ["begin_anew", "enqueue_missing", "run"]
