"""The webhook events in the OpenAPI document: what each one is about, and the body of its request."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from portal.api.bodies import Data, ImageCdnData, Moment, example
from portal.inventory import DAMAGES, LARGE, ORIGINAL, RENDITION, THUMB
from portal.webhooks import events


class PropertyUpdated(Data):
    id: UUID = Field(description="The property.")
    numeric_id: int = Field(description="Its number, as in `/api/properties/{id}`.")


class ListingImagesUpdated(ImageCdnData):
    listing_id: UUID
    external_id: str = Field(description="The listing's id in the property management system.")


class ImageDamaged(Data):
    model_config = example(
        {
            "propertyId": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "imageId": "550e8400-e29b-41d4-a716-446655440000",
            "object": "original",
            "kind": "missing",
            "reason": "The original can't be made again.",
        }
    )
    property_id: UUID
    image_id: UUID
    object: str = Field(
        description="Which file of the image.", json_schema_extra={"enum": [ORIGINAL, LARGE, THUMB, RENDITION]}
    )
    kind: str = Field(
        description="`missing`, or stored with other content (`changed`), another size (`length`) or type (`type`).",
        json_schema_extra={"enum": list(DAMAGES)},
    )
    reason: str = Field(description="Why it can't be repaired, as a sentence for people.")


class WebhookTest(Data):
    message: str


class PropertyUpdatedEvent(Data):
    type: Literal["property.updated"]
    timestamp: Moment = Field(description="The time of the change, the same in each attempt.")
    data: PropertyUpdated


class ListingImagesUpdatedEvent(Data):
    type: Literal["listing.images.updated"]
    timestamp: Moment
    data: ListingImagesUpdated


class ImageDamagedEvent(Data):
    type: Literal["image.damaged"]
    timestamp: Moment
    data: ImageDamaged


class WebhookTestEvent(Data):
    type: Literal["webhook.test"]
    timestamp: Moment
    data: WebhookTest


SUMMARIES = events.EVENTS | {events.TEST: "You asked for a test"}
BODIES: tuple[type[Data], ...] = (PropertyUpdatedEvent, ListingImagesUpdatedEvent, ImageDamagedEvent, WebhookTestEvent)


def add_to(document: dict[str, Any], ref_template: str) -> None:
    """Add the events to an OpenAPI document as its `webhooks`."""
    webhooks = document["webhooks"] = {}
    for model, (event, summary) in zip(BODIES, SUMMARIES.items(), strict=True):
        schema = model.model_json_schema(ref_template=ref_template)
        document["components"]["schemas"].update(schema.pop("$defs"))
        content = {"application/json": {"schema": schema}}
        webhooks[event] = {
            "post": {
                "summary": summary,
                "tags": ["Webhooks"],
                "requestBody": {"required": True, "content": content},
                "responses": {"2XX": {"description": "Received. Any other status is retried."}},
                "security": [],  # deliveries carry a signature, not a key
            }
        }
