"""Jobs for listings: PMS syncs, copies for the Image CDN, and removal of what deleted listings leave."""

from portal.listings import copies, removal, sync
from workers import job


@job
def sync_listings() -> None:
    sync.run()


@job
def image_cdn_upload() -> None:
    copies.run()


@job
def clear_leftovers() -> None:
    removal.clear_leftovers()
