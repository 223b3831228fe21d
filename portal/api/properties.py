"""Properties under /api/v1: an extension of the Property Images API, which assumes that they exist."""

from uuid import UUID

from flask import Response, url_for
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth
from portal.api.blueprints import PropertyPath, property_images_blueprint
from portal.api.bodies import Data, Moment, PropertyFields, Query, Text, answer
from portal.api.idempotency import idempotent
from portal.images import properties
from portal.images.models import Property

blueprint = property_images_blueprint(
    "properties_v1",
    "/properties",
    Tag(name="Properties", description="Rental properties. Each has a gallery of images."),
)


class ListQuery(Query):
    cursor: str | None = Field(None, description="The `nextCursor` of the previous page.")
    limit: int = Field(50, ge=1, le=properties.MAX_PAGE)


class ChangePropertyBody(PropertyFields):
    """Fields that are left out keep their values."""


class CreatePropertyBody(ChangePropertyBody):
    name: Text = Field(description="1 to 200 characters.")


class PropertyData(Data):
    id: UUID
    numeric_id: int
    name: str
    address: str
    bedrooms: int | None
    bathrooms: float | None
    sleeps: int | None
    external_ref: str
    photo_count: int
    created_at: Moment
    updated_at: Moment


class PropertyAnswer(Data):
    data: PropertyData


class PropertiesAnswer(Data):
    data: list[PropertyData]
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page; null on the last page.")


@blueprint.post("", responses={201: PropertyAnswer})
@idempotent
def create(body: CreatePropertyBody) -> Response:
    """Create a property."""
    property = properties.create(auth.workspace(), body.fields)
    location = url_for(".show", id=property.uuid)
    return answer(PropertyAnswer(data=_data([property])[0]), 201, location)


@blueprint.get("", responses={200: PropertiesAnswer})
def list_properties(query: ListQuery) -> Response:
    """List properties, newest first."""
    page = properties.page(auth.workspace(), after=query.cursor, limit=query.limit)
    return answer(PropertiesAnswer(data=_data(page.items), next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: PropertyAnswer})
def show(path: PropertyPath) -> Response:
    """Get one property."""
    return answer(PropertyAnswer(data=_data([properties.find(auth.workspace(), path.id)])[0]))


@blueprint.patch("/<id>", responses={200: PropertyAnswer})
@idempotent
def change(path: PropertyPath, body: ChangePropertyBody) -> Response:
    """Update a property. Fields that are left out keep their values."""
    property = properties.update(properties.find(auth.workspace(), path.id), body.fields)
    return answer(PropertyAnswer(data=_data([property])[0]))


@blueprint.delete("/<id>", responses={204: None})
@idempotent
def delete(path: PropertyPath) -> Response:
    """Delete a property and all its images."""
    properties.delete(properties.find(auth.workspace(), path.id))
    return Response(status=204)


def _data(items: list[Property]) -> list[PropertyData]:
    return [
        PropertyData(
            id=each.property.uuid,
            numeric_id=each.property.id,
            name=each.property.name,
            address=each.property.address,
            bedrooms=each.property.bedrooms,
            bathrooms=each.property.bathrooms,
            sleeps=each.property.sleeps,
            external_ref=each.property.external_ref,
            photo_count=each.photos,
            created_at=each.property.created_at,
            updated_at=each.property.updated_at,
        )
        for each in properties.summaries(items)
    ]
