"""IMAGE_CDN_UPLOAD: each ListingImage that is due is fetched, published and recorded."""

from portal.listings.copies.tasks import FAILED_IMAGE, enqueue_missing, run, try_again, try_all_again

__all__ = ["FAILED_IMAGE", "enqueue_missing", "run", "try_again", "try_all_again"]
