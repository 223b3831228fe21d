"""Image CDN contract, "Listing Response Behavior" and "Data Model": listings and their ListingImage records."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_openapi.models.tag import Tag
from pydantic import ConfigDict, Field, RootModel

from portal.api import auth
from portal.api.blueprints import image_cdn_blueprint
from portal.api.bodies import ImageCdnData, Moment, Path, Query, Text, answer, example
from portal.api.idempotency import idempotent
from portal.listings import catalogue, copies
from portal.listings.models import GALLERY, THUMBNAIL, Listing, ListingImage
from portal.listings.substitution import ListingPictures, cdn_url, substitute

LISTING_ID, PMS_URL = "0b7f2a52-35c4-4a35-9d38-2a9f3e8f2f60", "https://hostaway-platform.example.com/listing/"
WORKSPACE_ID, HASH = "550e8400-e29b-41d4-a716-446655440000", "9e107d9d372bb6826bd81d3542a419d6"
CDN_URL = f"https://cdn.example.com/{WORKSPACE_ID}/{LISTING_ID}/"
LISTING = {
    "id": LISTING_ID,
    "externalID": "40160",
    "name": "Heron House",
    "provider": "HOSTAWAY",
    "accountID": "3f0c3f6e-8d0a-4c39-9a59-5d0f3b1f6f5b",
    "thumbnailURL": f"{CDN_URL}thumbnail_{HASH}.jpg",
    "pictures": [
        {"url": f"{CDN_URL}gallery/0_{HASH}.jpg", "description": "Living room", "id": "7001"},
        {"url": f"{PMS_URL}7002.jpg", "description": "Not copied yet", "id": "7002"},
    ],
    "createdAt": "2025-01-01T00:00:00.000Z",
    "updatedAt": "2025-06-01T12:00:00.000Z",
}
IMAGE = {
    "id": "c1a4d4de-0d1e-4f3e-8d7f-0f6a3c1b2a19",
    "listingID": LISTING_ID,
    "originalURL": f"{PMS_URL}7001.jpg",
    "cdnURL": f"{CDN_URL}gallery/0_{HASH}.jpg",
    "imageHash": HASH,
    "imageType": GALLERY,
    "position": 0,
    "lastCheckedAt": "2025-06-01T12:00:00.000Z",
    "failureReason": None,
    "createdAt": "2025-06-01T12:00:00.000Z",
    "updatedAt": "2025-06-01T12:00:00.000Z",
}

blueprint = image_cdn_blueprint(
    "listings_v1",
    "/listings",
    Tag(
        name="Listings",
        description="Listings synced from a PMS. With the Image CDN enabled, picture URLs point to its copies.",
    ),
)


class ListingPath(Path):
    id: str


class ListingImagePath(ListingPath):
    image_id: str


class ListingsQuery(Query):
    cursor: str | None = Field(None, description="The `nextCursor` of the previous page.")
    limit: int = Field(50, ge=1, le=catalogue.MAX_PAGE)
    provider: str | None = Field(None, description="The PMS, such as HOSTAWAY. Case-insensitive.")
    account: str | None = Field(None, description="The `id` of an account.")
    state: str | None = Field(
        None,
        description="`failed` or `waiting`: listings with at least one such picture. `copied`: listings whose pictures "
        "are all copied. Matches only listings whose Image CDN is enabled.",
    )
    q: Text = Field("", description="Words to find in the name or the listing's ID at the PMS.")


class PictureData(ImageCdnData):
    """A picture as the PMS returns it. The Image CDN replaces only its `url`."""

    model_config = ConfigDict(extra="allow")

    url: str
    description: str


class ListingData(ImageCdnData):
    model_config = example(LISTING)
    id: UUID
    external_id: str = Field(description="The listing's ID at the PMS.")
    name: str
    provider: str
    account_id: UUID
    thumbnail_url: str | None
    pictures: list[PictureData]
    created_at: Moment
    updated_at: Moment


class ListingsAnswer(ImageCdnData):
    model_config = example({"listings": [LISTING], "nextCursor": None})
    listings: list[ListingData]
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page; null on the last page.")


class ListingImageData(ImageCdnData):
    model_config = example(IMAGE)
    id: UUID
    listing_id: UUID = Field(description="Reference to the parent listing.")
    original_url: str = Field(description="The original image URL from the PMS.")
    cdn_url: str | None = Field(description="The CDN URL (null if not yet uploaded).")
    image_hash: str | None = Field(description="MD5 hash of the image content for change detection.")
    image_type: str = Field(json_schema_extra={"enum": [THUMBNAIL, GALLERY]})
    position: int = Field(description="Order in the gallery (0 for thumbnail).")
    last_checked_at: Moment | None = Field(description="When the image was last verified.")
    failure_reason: str | None = Field(description="Error message if upload failed (null on success).")
    created_at: Moment
    updated_at: Moment


class ListingImagesAnswer(RootModel[list[ListingImageData]]):
    """The thumbnail, the gallery in order, then images that the PMS no longer lists."""


@blueprint.get("", responses={200: ListingsAnswer})
def list_listings(query: ListingsQuery) -> Response:
    """List listings in the order in which they were first synced."""
    page = catalogue.page(
        auth.workspace(),
        after=query.cursor,
        limit=query.limit,
        search=query.q,
        provider=query.provider,
        account=query.account,
        state=query.state,
    )
    return answer(ListingsAnswer(listings=_listings(page.items), next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: ListingData})
def show(path: ListingPath) -> Response:
    """Get one listing."""
    return answer(_listings([_found(path)])[0])


@blueprint.get("/<id>/images", responses={200: ListingImagesAnswer})
def list_images(path: ListingPath) -> Response:
    """List a listing's ListingImage records."""
    listing = _found(path)
    return answer(ListingImagesAnswer([_image(image, listing) for image in catalogue.images(listing)]))


@blueprint.post("/<id>/images/<imageId>/retry", responses={202: ListingImageData})
@idempotent
def retry(path: ListingImagePath) -> Response:
    """Queue an image for upload again, whatever its state."""
    listing = _found(path)
    image = catalogue.find_image(listing, path.image_id)
    copies.try_again(image)
    return answer(_image(image, listing), 202)


def _found(path: ListingPath) -> Listing:
    return catalogue.find(auth.workspace(), path.id)


def _listings(found: list[Listing]) -> list[ListingData]:
    return [_listing(listing, its) for listing, its in zip(found, substitute(found), strict=True)]


def _listing(listing: Listing, its: ListingPictures) -> ListingData:
    pictures: list[Any] = list(its.pictures)
    return ListingData(
        id=listing.uuid,
        external_id=listing.external_id,
        name=listing.name,
        provider=listing.account.definition.provider,
        account_id=listing.account.uuid,
        thumbnail_url=its.thumbnail_url,
        pictures=pictures,
        created_at=listing.created_at,
        updated_at=listing.updated_at,
    )


def _image(image: ListingImage, listing: Listing) -> ListingImageData:
    return ListingImageData(
        id=image.uuid,
        listing_id=listing.uuid,
        original_url=image.original_url,
        cdn_url=cdn_url(image),
        image_hash=image.image_hash,
        image_type=image.type,
        position=image.position,
        last_checked_at=image.last_checked_at,
        failure_reason=image.failure_reason,
        created_at=image.created_at,
        updated_at=image.updated_at,
    )
