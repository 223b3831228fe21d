"""Property Images API: presign, confirm and list images; as an extension, get and describe a single image."""

import json
from datetime import timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from flask import Response, request, url_for
from flask_openapi.models.tag import Tag
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from portal.accounts.idempotency import Answer
from portal.api import auth
from portal.api.blueprints import PropertyPath, property_images_blueprint
from portal.api.bodies import Body, Data, Text, answer, example
from portal.api.idempotency import idempotent
from portal.db import now
from portal.images import gallery, keys, properties, uploads
from portal.images.models import FAILED, Image, ListedImage, Property
from portal.images.uploads import AnnouncedFile, UploadedFile
from portal.infra import storage

R2_KEY = "images/user123/prop456/abc-def.jpg"  # this and IMAGE are the contract's examples
IMAGE = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "url": "https://images.rentalot.ai/images/user123/prop456/img789.jpg",
    "altText": "Living room with hardwood floors",
    "order": 0,
}
UNKNOWN_REASON = "The reason is unknown."
RESIGN_AFTER = timedelta(seconds=storage.PRESIGN_LIFETIME_S - 60)  # no replay returns a URL that is about to expire

blueprint = property_images_blueprint(
    "images_v1",
    "/properties/<id>/images",
    Tag(
        name="Property images",
        description="Upload in three steps (presign, PUT to storage, confirm); reorder, describe and delete images.",
    ),
)


class ImagePath(PropertyPath):
    image_id: str


class PresignBody(Body):
    model_config = example({"fileName": "living-room.jpg", "contentType": "image/jpeg", "sizeBytes": 2048576})
    file_name: Text = Field(description="Original filename. Max 255 chars.", examples=["living-room.jpg"])
    content_type: Text = Field(description="One of image/jpeg, image/png, image/webp, image/heic.")
    size_bytes: int = Field(description="File size in bytes. Max 10 MB.", examples=[2048576])


class Presigned(Data):
    upload_url: str = Field(description="Accepts one PUT with exactly this type and size. Expires after one hour.")
    r2_key: str
    max_images: int


class PresignAnswer(Data):
    model_config = example(
        {"data": {"uploadUrl": "https://r2.example.com/presigned-put-url...", "r2Key": R2_KEY, "maxImages": 20}}
    )
    data: Presigned


class ConfirmBody(Body):
    model_config = example(
        {"r2Key": R2_KEY, "contentType": "image/jpeg", "sizeBytes": 2048576, "altText": IMAGE["altText"]}
    )
    r2_key: Text = Field(description="The r2Key returned from presign.")
    content_type: Text
    size_bytes: int
    alt_text: Text | None = Field(None, description="Optional alt text. Max 500 chars.")


class DescribeBody(Body):
    alt_text: Text | None = Field(description="Max 500 chars. An empty string removes the alt text.")


def _without_default(schema: dict[str, Any]) -> None:
    """Describe a field that is left out rather than null."""
    schema.pop("default")


class ImageData(Data):
    id: UUID
    url: str
    alt_text: str | None
    order: int


class ListedImageData(ImageData):
    """An image of a gallery. Two fields are present only if its file could not be processed (extension)."""

    status: Literal["failed"] | SkipJsonSchema[None] = Field(
        None,
        description="Present only if the file was accepted but could not be processed; then `url` answers 404.",
        json_schema_extra=_without_default,
    )
    failure_reason: str | SkipJsonSchema[None] = Field(
        None,
        description="Why, as a sentence for people. Present only with `status`.",
        examples=["The file is damaged and can't be opened."],
        json_schema_extra=_without_default,
    )


class ImageAnswer(Data):
    model_config = example({"data": IMAGE})
    data: ImageData


class ListedImageAnswer(Data):
    model_config = example({"data": IMAGE})
    data: ListedImageData


class ImagesAnswer(Data):
    model_config = example({"data": [IMAGE]})
    data: list[ImageData]


class ListedImagesAnswer(Data):
    model_config = example({"data": [IMAGE]})
    data: list[ListedImageData]


@blueprint.get("", responses={200: ListedImagesAnswer, 304: None})
def list_images(path: PropertyPath) -> Response:
    """List a property's images in display order."""
    property = properties.find(auth.workspace(), path.id)
    etag = etag_of(property)
    if request.if_none_match.contains_weak(etag):
        response = Response(status=304)
    else:
        listed = [listed_image_data(image) for image in gallery.list_images(property)]
        response = answer(ListedImagesAnswer(data=listed), omit_unset=True)
    response.set_etag(etag)
    return response


def etag_of(property: Property) -> str:
    """Return the gallery's version, which increases with each change to the list."""
    return str(property.gallery_version)


def with_fresh_urls(kept: Answer) -> Answer:
    """Re-sign the upload URLs of a stored presign response if they have expired. The r2Keys stay the same."""
    if now() - kept.at < RESIGN_AFTER:
        return kept
    body = json.loads(kept.body)
    property = properties.find(auth.workspace(), (request.view_args or {})["id"])
    for presigned in body["data"] if isinstance(body["data"], list) else [body["data"]]:
        upload = uploads.find_upload(property, presigned["r2Key"])
        if upload and not upload.confirmed_at:
            presigned["uploadUrl"] = uploads.url_of(upload)
    return kept._replace(body=json.dumps(body))


@blueprint.post("/presign", responses={200: PresignAnswer})
@partial(idempotent, renew=with_fresh_urls)
def presign(path: PropertyPath, body: PresignBody) -> Response:
    """Get a presigned upload URL for one file."""
    property = properties.find(auth.workspace(), path.id)
    most = property.workspace.plan.images_per_property  # read before the commit, which would reload it
    (upload,) = uploads.presign(property, [announced_file(body)])
    data = Presigned(upload_url=uploads.url_of(upload), r2_key=upload.key, max_images=most)
    return answer(PresignAnswer(data=data))


@blueprint.post("/confirm", responses={201: ImageAnswer})
@idempotent
def confirm(path: PropertyPath, body: ConfirmBody) -> Response:
    """Confirm an upload: add the file to the property's images."""
    property = properties.find(auth.workspace(), path.id)
    ((image, is_new),) = uploads.confirm(property, [uploaded_file(body)], added_by=auth.api_key().name)
    location = url_for(".show", id=path.id, imageId=image.uuid)
    response = answer(ImageAnswer(data=image_data(image)), 201, location)
    if not is_new:  # a repeat, after the first response was lost
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.get("/<imageId>", responses={200: ListedImageAnswer})
def show(path: ImagePath) -> Response:
    """Get one image."""
    return _as_listed(gallery.find(properties.find(auth.workspace(), path.id), path.image_id))


@blueprint.patch("/<imageId>", responses={200: ListedImageAnswer})
@idempotent
def describe(path: ImagePath, body: DescribeBody) -> Response:
    """Change an image's alt text."""
    property = properties.find(auth.workspace(), path.id)
    return _as_listed(gallery.describe(property, path.image_id, body.alt_text))


def announced_file(body: PresignBody) -> AnnouncedFile:
    return AnnouncedFile(body.file_name, body.content_type.lower(), body.size_bytes)


def uploaded_file(body: ConfirmBody) -> UploadedFile:
    return UploadedFile(body.r2_key, body.content_type.lower(), body.size_bytes, body.alt_text)


def image_data(image: Image) -> ImageData:
    """Return an image as the Property Images API represents it."""
    return ImageData(id=image.uuid, url=keys.image_url(image), alt_text=image.alt_text, order=image.position)


def listed_image_data(image: ListedImage) -> ListedImageData:
    """Return an image as the list represents it. Fields that are not set here are to be left out."""
    failure: dict[str, Any] = {}
    if image.failure_reason is not None:
        failure = {"status": FAILED, "failure_reason": image.failure_reason or UNKNOWN_REASON}
    return ListedImageData(
        id=image.uuid, url=keys.image_url(image), alt_text=image.alt_text, order=image.position, **failure
    )


def _as_listed(image: Image) -> Response:
    reason = (image.failure_reason or "") if image.variants == FAILED else None
    listed = ListedImage(image.uuid, image.key, image.alt_text, image.position, reason)
    return answer(ListedImageAnswer(data=listed_image_data(listed)), omit_unset=True)
