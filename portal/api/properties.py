"""Seed C, "Manage Property Images": one PUT deletes, turns, uploads and arranges, all or nothing."""

from datetime import timedelta
from functools import partial
from typing import Any, Literal

from flask import Response
from flask_openapi.models.tag import Tag
from pydantic import BaseModel, ConfigDict, Field

from portal.api import auth, forms
from portal.api.blueprints import speaking_c
from portal.api.bodies import STATUSES, Data, Path, answer
from portal.api.idempotency import idempotent
from portal.db import is_id
from portal.errors import NotFound
from portal.images import edit, gallery, keys, properties
from portal.images.models import Property

LONGEST = timedelta(minutes=10)  # twenty photos, behind twenty others
UPDATED = "Property updated successfully"  # seed C


class Failed(BaseModel):
    """Any failure but the one of an update that was begun."""

    success: Literal[False]
    message: str
    data: None


class UpdateFailed(BaseModel):
    """Seed C's "Upload Failed" and "Invalid Image ID": nothing has changed."""

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
    images: list[str] = Field(description="The large variants, in display order.")
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

blueprint = speaking_c(
    "properties_c",
    Tag(name="Manage property images", description="One PUT deletes, rotates, uploads and arranges, all or nothing."),
    FAILURES,
)
forms.read_on(blueprint)


@blueprint.get("/<id>", responses={200: ManagedPropertyAnswer})
def show(path: PropertyPath) -> Response:
    """Get a property with its images, as the PUT answers it."""
    return _answer(_find(path), "Property found")


@blueprint.put("/<id>", responses={200: ManagedPropertyAnswer, 500: UpdateFailed})
@partial(idempotent, body=lambda: forms.sent().digest(), lease=LONGEST)
def update(path: PropertyPath) -> Response:
    """Delete, rotate, upload and arrange images, in this order, and change other fields: all or nothing."""
    property = _find(path)
    edit.apply(property, forms.change(added_by=auth.api_key().name))
    return _answer(property, UPDATED)


def _find(path: PropertyPath) -> Property:
    """This dialect speaks of numbers only (contract.md, X1)."""
    if not is_id(path.id):
        raise NotFound("There is no such property.", code="property_not_found")
    return properties.find(auth.workspace(), path.id)


def _answer(property: Property, message: str) -> Response:
    """The property with the images that have their variants: no URL is told whose object isn't there (X16)."""
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
