"""Events: one Delivery row per subscribed endpoint, in the transaction of the change itself."""

import json
from typing import Any

from sqlalchemy import select

from portal.db import db, now
from portal.infra import jobs
from portal.webhooks.models import Delivery, Endpoint
from portal.work import Work

PROPERTY_UPDATED = "property.updated"
LISTING_IMAGES_UPDATED = "listing.images.updated"
IMAGE_DAMAGED = "image.damaged"
TEST = "webhook.test"
EVENTS = {
    PROPERTY_UPDATED: "Photos or details of a property changed",
    LISTING_IMAGES_UPDATED: "Pictures of a PMS listing have new copies in the Image CDN",
    IMAGE_DAMAGED: "A stored file of a photo is lost or changed and can't be repaired",
}
FIELDS = {  # of `data` in the request
    PROPERTY_UPDATED: ("id", "numericId"),
    LISTING_IMAGES_UPDATED: ("listingID", "externalID"),
    IMAGE_DAMAGED: ("propertyId", "imageId", "object", "kind", "reason"),
}


def emit(w: Work, workspace_id: int, event: str, data: dict[str, Any]) -> None:
    """Queue an event for each subscribed endpoint of a workspace. A change that is rolled back sends nothing."""
    enabled = select(Endpoint).where(Endpoint.workspace_id == workspace_id, Endpoint.disabled_at.is_(None))
    held = enabled.with_for_update(read=True, key_share=True, of=Endpoint)  # none is deleted before its row is inserted
    endpoints = [endpoint for endpoint in db.session.scalars(held) if event in endpoint.events]
    for endpoint in endpoints:
        send(w, endpoint, event, data)


def send(w: Work, endpoint: Endpoint, event: str, data: dict[str, Any]) -> Delivery:
    """Queue an event for one endpoint and return its delivery."""
    timestamp = now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": event, "timestamp": timestamp, "data": data}, separators=(",", ":"))
    delivery = Delivery(endpoint_id=endpoint.id, event=event, body=body)
    db.session.add(delivery)
    w.enqueue(jobs.deliver_webhooks())
    return delivery
