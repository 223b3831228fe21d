"""Manage Property Images: one PUT deletes, rotates, uploads and reorders images, all or nothing."""

from datetime import timedelta
from functools import partial
from typing import Any, Literal

from flask import Response
from flask_openapi.models.tag import Tag
from pydantic import BaseModel, ConfigDict, Field

from portal.api import auth, forms
from portal.api.blueprints import manage_images_blueprint
from portal.api.bodies import STATUSES, Data, Path, answer
from portal.api.idempotency import idempotent
from portal.db import is_id
from portal.errors import NotFound
from portal.images import edit, gallery, keys, properties
from portal.images.models import Property

UPDATE_LEASE = timedelta(minutes=10)  # twenty photos, queued behind twenty others
UPDATED = "Property updated successfully"  # verbatim from the contract, "Response"


class Failed(BaseModel):
    """Any error other than a failed update."""

    success: Literal[False]
    message: str
    data: None


class UpdateFailed(BaseModel):
    """A failed upload or an invalid image ID. Nothing has been changed."""

    model_config = ConfigDict(extra="forbid")

    success: Literal[False]
    message: Literal["Failed to update property"]


class PropertyPath(Path):
    id: str = Field(description="The property ID, a number.")


class ImageMeta(Data):
    id: int
    url: str
    order_index: int
    is_main: bool


class ManagedProperty(Data):
    id: str
    images: list[str] = Field(description="URLs of the large variants, in display order.")
    images_meta: list[ImageMeta]
    name: str
    address: str
    bedrooms: int | None
    bathrooms: float | None
    sleeps: int | None
    external_ref: str


class ManagedPropertyAnswer(Data):
    success: bool
    message: str
    data: ManagedProperty


FAILURES: dict[Any, Any] = dict.fromkeys(STATUSES, Failed)

blueprint = manage_images_blueprint(
    "manage_images",
    Tag(
        name="Manage property images",
        description="Delete, rotate, upload and reorder images in one request, all or nothing.",
    ),
    FAILURES,
)
forms.read_bodies_of(blueprint)


@blueprint.get("/<id>", responses={200: ManagedPropertyAnswer})
def show(path: PropertyPath) -> Response:
    """Get a property with its images, as PUT returns it."""
    return _answer(_find(path), "Property found")


@blueprint.put("/<id>", responses={200: ManagedPropertyAnswer, 500: UpdateFailed})
@partial(idempotent, body=lambda: forms.request_body().digest(), lease=UPDATE_LEASE)
def update(path: PropertyPath) -> Response:
    """Delete, rotate, upload and reorder images, in this order, and update other fields, all or nothing."""
    property = _find(path)
    edit.apply(property, forms.change(added_by=auth.api_key().name))
    return _answer(property, UPDATED)


def _find(path: PropertyPath) -> Property:
    """Return the property with this number. This contract doesn't accept UUIDs."""
    if not is_id(path.id):
        raise NotFound("There is no such property.", code="property_not_found")
    return properties.find(auth.workspace(), path.id)


def _answer(property: Property, message: str) -> Response:
    """Return the property with those images whose variants are stored, so that every returned URL works."""
    shown = [
        ImageMeta(id=image.id, url=keys.cdn_url(image.large_key), order_index=image.position, is_main=image.is_main)
        for image in gallery.images(property)
        if image.large_key
    ]
    data = ManagedProperty(
        id=str(property.id),
        images=[image.url for image in shown],
        images_meta=shown,
        name=property.name,
        address=property.address,
        bedrooms=property.bedrooms,
        bathrooms=property.bathrooms,
        sleeps=property.sleeps,
        external_ref=property.external_ref,
    )
    return answer(ManagedPropertyAnswer(success=True, message=message, data=data))
