"""Jobs for images."""

from portal.images import variants
from portal.images.variants import renditions
from workers import job


@job
def make_variants(image_id: int) -> None:
    variants.make(image_id)


@job
def make_avif(image_id: int, width_px: int) -> None:
    renditions.make_avif(image_id, width_px)
