"""Property Images API: batch upload, delete and reorder, each for up to 20 images, all or nothing."""

from functools import partial

from flask import Response, jsonify, request
from pydantic import Field
from werkzeug.exceptions import PreconditionFailed

from portal.api import auth, images
from portal.api.blueprints import PropertyPath
from portal.api.bodies import MAX_ITEMS, Body, Data, ErrorAnswer, Text, answer, example
from portal.api.idempotency import idempotent
from portal.api.images import (
    ConfirmBody,
    ImagesAnswer,
    PresignBody,
    announced_file,
    etag_of,
    image_data,
    uploaded_file,
    with_fresh_urls,
)
from portal.errors import Conflict
from portal.images import deletion, order, properties, uploads

blueprint = images.blueprint  # shared: the OpenAPI library can't split a path's methods between blueprints
K, B = "images/user123/prop456/k.jpg", "images/user123/prop456/b.png"  # in the contract's examples
UPLOAD_URL = "https://r2.example.com/..."


class PresignBatchBody(Body):
    model_config = example(
        {
            "images": [
                {"fileName": "kitchen.jpg", "contentType": "image/jpeg", "sizeBytes": 1500000},
                {"fileName": "bath.png", "contentType": "image/png", "sizeBytes": 800000},
            ]
        }
    )
    images: list[PresignBody] = Field(min_length=1, max_length=MAX_ITEMS)


class PresignedFile(Data):
    file_name: str
    upload_url: str = Field(description="Accepts one PUT with exactly this type and size. Expires after one hour.")
    r2_key: str


class PresignBatchAnswer(Data):
    model_config = example(
        {
            "data": [
                {"fileName": "kitchen.jpg", "uploadUrl": UPLOAD_URL, "r2Key": K},
                {"fileName": "bath.png", "uploadUrl": UPLOAD_URL, "r2Key": B},
            ]
        }
    )
    data: list[PresignedFile]


class ConfirmBatchBody(Body):
    model_config = example(
        {
            "images": [
                {"r2Key": K, "contentType": "image/jpeg", "sizeBytes": 1500000, "altText": "Kitchen"},
                {"r2Key": B, "contentType": "image/png", "sizeBytes": 800000},
            ]
        }
    )
    images: list[ConfirmBody] = Field(min_length=1, max_length=MAX_ITEMS)


class DeleteBody(Body):
    model_config = example({"imageIds": ["550e8400-e29b-41d4-a716-446655440000"]})
    image_ids: list[Text] = Field(min_length=1, max_length=MAX_ITEMS)


class Deleted(Data):
    deleted: int


class DeleteAnswer(Data):
    model_config = example({"data": {"deleted": 1}})
    data: Deleted


class ReorderBody(Body):
    model_config = example({"imageIds": ["img-id-for-order-0", "img-id-for-order-1", "img-id-for-order-2"]})
    image_ids: list[Text] = Field(min_length=1, max_length=MAX_ITEMS)


class ReorderAnswer(Data):
    model_config = example({"ok": True})
    ok: bool


@blueprint.post("/presign-batch", responses={200: PresignBatchAnswer})
@partial(idempotent, renew=with_fresh_urls)
def presign_batch(path: PropertyPath, body: PresignBatchBody) -> Response:
    """Get presigned upload URLs for up to 20 files, all or none."""
    property = properties.find(auth.workspace(), path.id)
    made = uploads.presign(property, [announced_file(each) for each in body.images])
    data = [PresignedFile(file_name=u.file_name, upload_url=uploads.url_of(u), r2_key=u.key) for u in made]
    return answer(PresignBatchAnswer(data=data))


@blueprint.post("/confirm-batch", responses={201: ImagesAnswer})
@idempotent
def confirm_batch(path: PropertyPath, body: ConfirmBatchBody) -> Response:
    """Confirm up to 20 uploads, all or none."""
    property = properties.find(auth.workspace(), path.id)
    confirmed = uploads.confirm(property, [uploaded_file(each) for each in body.images], added_by=auth.api_key().name)
    response = answer(ImagesAnswer(data=[image_data(image) for image, _ in confirmed]), 201)
    if not any(is_new for _, is_new in confirmed):  # a repeat, after the first response was lost
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.delete("", responses={200: DeleteAnswer})
@idempotent
def delete(path: PropertyPath, body: DeleteBody) -> Response:
    """Delete images permanently. IDs that don't belong to this property are skipped."""
    return _delete(path, body)


@blueprint.post("/delete", responses={200: DeleteAnswer})
@idempotent
def delete_by_post(path: PropertyPath, body: DeleteBody) -> Response:
    """Delete images permanently, as an alternative for clients whose proxy drops the body of a DELETE."""
    return _delete(path, body)


@blueprint.patch("/reorder", responses={200: ReorderAnswer, 412: ErrorAnswer})
@idempotent
def reorder(path: PropertyPath, body: ReorderBody) -> Response:
    """Set the display order. Images that are not listed follow in their current order."""
    property = properties.find(auth.workspace(), path.id)
    conditional = "If-Match" in request.headers and not request.if_match.star_tag
    if conditional and not request.if_match.contains(etag_of(property)):
        raise _changed()
    try:
        order.reorder(property, body.image_ids, if_version=property.gallery_version if conditional else None)
    except Conflict:  # it changed after the check above
        raise _changed() from None
    return jsonify(ok=True)


def _delete(path: PropertyPath, body: DeleteBody) -> Response:
    property = properties.find(auth.workspace(), path.id)
    deleted = deletion.delete(property, body.image_ids).images
    return answer(DeleteAnswer(data=Deleted(deleted=deleted)))


def _changed() -> PreconditionFailed:
    return PreconditionFailed("The gallery has changed. List the images again, then retry.")
