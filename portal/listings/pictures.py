"""A listing's pictures for display: what the PMS lists now, and the state of each copy."""

from collections.abc import Sequence
from typing import NamedTuple

from portal.listings import catalogue
from portal.listings.catalogue import WAITING
from portal.listings.models import Listing, ListingImage
from portal.listings.sync import detection

OFF = "off"  # a further state: the Image CDN is switched off


class PictureRow(NamedTuple):
    """A picture, and its ListingImage if there is one yet."""

    type: str
    position: int
    url: str
    description: str
    state: str
    image: ListingImage | None


def rows(listing: Listing, images: Sequence[ListingImage]) -> list[PictureRow]:
    """Return a row for the thumbnail and each gallery picture, in order, with its entry in `images`."""
    records = {(image.type, image.url_sha256): image for image in images if image.superseded_at is None}
    is_on = listing.account.definition.enable_images_cdn
    texts = {entry["url"]: entry["description"] for entry in listing.pictures}
    found = []
    for picture in detection.listed_pictures(listing):
        image = records.get((picture.type, detection.url_sha256(picture.url)))
        state = OFF if not is_on else catalogue.state_of(image) if image else WAITING
        found.append(PictureRow(picture.type, picture.position, picture.url, texts.get(picture.url, ""), state, image))
    return found


def superseded_rows(images: Sequence[ListingImage]) -> list[PictureRow]:
    """Return a row for each image that the PMS no longer lists."""
    superseded = [image for image in images if image.superseded_at]
    return [
        PictureRow(image.type, image.position, image.original_url, "", catalogue.state_of(image), image)
        for image in superseded
    ]
