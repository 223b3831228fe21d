"""Variants: the large picture and the thumbnail of each image, made by a worker or inside a request."""

from portal.images.variants.lifecycle import (
    StoredVariants,
    enqueue_missing,
    make,
    store,
    swap,
    try_again,
    try_all_again,
)

__all__ = ["StoredVariants", "enqueue_missing", "make", "store", "swap", "try_again", "try_all_again"]
