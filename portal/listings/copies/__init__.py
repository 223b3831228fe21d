"""IMAGE_CDN_UPLOAD: fetches each due ListingImage, publishes the copy and records the result."""

from portal.listings.copies.tasks import FAILED_IMAGE, enqueue_missing, run, try_again, try_all_again

__all__ = ["FAILED_IMAGE", "enqueue_missing", "run", "try_again", "try_all_again"]
