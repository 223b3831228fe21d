"""Sync: reads the listings of a PMS page by page and stores them."""

from portal.listings.sync.tasks import enqueue_missing, restart, run

__all__ = ["enqueue_missing", "restart", "run"]
