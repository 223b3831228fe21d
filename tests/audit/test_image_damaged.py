"""image.damaged: who gets it, once for each object, and what it says."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from portal import inventory
from portal.audit import repair
from portal.db import db
from portal.images.models import Image, Property
from portal.infra import storage
from portal.inventory import CHANGED, MISSING
from portal.webhooks import endpoints, events
from portal.webhooks.models import Delivery, Endpoint
from tests.factories import Person
from tests.images.galleries import finished, now_in

URL = "https://example.com/hook"


@pytest.fixture
def image(home: Property) -> Image:
    finished(home, 1)
    return now_in(home)[0]


def given_up(image: Image, damage: str = MISSING) -> None:
    facts = inventory.find(storage.uploads, image.original_key)
    assert facts
    repair.repair(storage.uploads, facts, damage)


def test_it_is_sent_once_to_those_who_selected_it(alice: Person, charlie: Person, home: Property, image: Image) -> None:
    wanted = alice.api("POST", "/api/v1/webhooks", json={"url": URL, "events": ["image.damaged"]})
    assert (wanted.status_code, wanted.json["data"]["events"]) == (201, ["image.damaged"])
    endpoints.create(alice.workspace, URL, ["property.updated"])  # as those from before this event
    endpoints.create(charlie.workspace, URL, ["image.damaged"])
    given_up(image)
    given_up(image, CHANGED)
    rows = db.session.execute(select(Delivery.event, Delivery.body, Endpoint.workspace_id).join(Endpoint)).all()
    assert [(row.event, row.workspace_id) for row in rows] == [("image.damaged", alice.workspace.id)]
    body = json.loads(rows[0].body)
    assert body["type"] == "image.damaged"
    assert tuple(body["data"]) == events.FIELDS[events.IMAGE_DAMAGED]
    assert body["data"].pop("reason").endswith(".")
    assert body["data"] == {
        "propertyId": str(home.uuid),
        "imageId": str(image.uuid),
        "object": "original",
        "kind": "missing",
    }
    assert inventory.damaged_among(storage.uploads, [image.original_key]) == {image.original_key}


def test_it_is_selected_on_the_webhooks_page_which_says_what_it_contains(alice: Person) -> None:
    browser, old = alice.browser(), endpoints.create(alice.workspace, URL, ["property.updated"])
    page = browser.get(f"/settings/webhooks/{old.uuid}").text
    assert 'value="property.updated" checked' in page
    assert 'value="image.damaged" checked' not in page
    assert "image.damaged: propertyId, imageId, object, kind, reason" in page
    chosen = {"url": URL, "events": ["property.updated", "image.damaged"]}
    assert browser.post(f"/settings/webhooks/{old.uuid}", data=chosen).status_code == 303
    db.session.expire_all()
    assert old.events == ["image.damaged", "property.updated"]
