"""Jobs of the listings: PMS syncs, copies for the Image CDN, and what goes with listings that are gone."""

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
