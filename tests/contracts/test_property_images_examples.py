"""Property Images API: the contract's examples other than its curl commands, by a plain HTTP client.

Requests are sent as printed, except for what only the server knows (keys, ids, sizes of real files); responses are
compared field by field. The curl commands are in test_property_images_api.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import requests

from portal.db import db
from portal.images.imports import fetch
from portal.images.models import Property
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery
from tests import factories
from tests.factories import Person
from tests.outside import Reply, outside

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")  # "2026-05-08T12:00:04.123Z"


class Client:
    """An integrator with an API key."""

    def __init__(self, live: str, person: Person, home: Property) -> None:
        self.live, self.person, self.home = live, person, home
        self.images = f"/api/v1/properties/{home.uuid}/images"
        self.prefix = f"images/{person.workspace.uuid}/{home.uuid}/"
        self.headers = {"Authorization": f"Bearer {person.key}"}

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> requests.Response:
        url = f"{self.live}{self.images}{path}"
        response = requests.request(method, url, json=body, headers=self.headers, timeout=30)
        assert response.status_code == status, response.text
        assert response.headers["Content-Type"] == "application/json"
        return response

    def listed(self) -> Any:
        return self.call("GET", "").json()["data"]

    def tickets(self, *files: dict[str, Any]) -> list[dict[str, Any]]:
        """Presign in a batch and check the shape of each item."""
        answer = self.call("POST", "/presign-batch", {"images": list(files)}).json()
        tickets: list[dict[str, Any]] = answer["data"]
        assert answer == {
            "data": [
                {"fileName": file["fileName"], "uploadUrl": ticket["uploadUrl"], "r2Key": ticket["r2Key"]}
                for file, ticket in zip(files, tickets, strict=True)
            ]
        }
        assert all(ticket["r2Key"].startswith(self.prefix) for ticket in tickets)
        return tickets

    def add(self, count: int) -> list[str]:
        """Upload images by presign, PUT and confirm; return their ids."""
        data = factories.jpeg(64, 48)
        files = [{"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": len(data)}] * count
        tickets = self.tickets(*files)
        for ticket in tickets:
            assert factories.put(ticket["uploadUrl"], data, "image/jpeg").status_code == 200
        said = [{"r2Key": t["r2Key"], "contentType": "image/jpeg", "sizeBytes": len(data)} for t in tickets]
        return [each["id"] for each in self.call("POST", "/confirm-batch", {"images": said}, 201).json()["data"]]

    def events(self) -> int:
        db.session.rollback()
        return db.session.query(Delivery).filter_by(event="property.updated").count()


@pytest.fixture
def client(live: str, alice: Person, home: Property) -> Client:
    endpoints.create(alice.workspace, "https://example.com/hook", ["property.updated"])
    return Client(live, alice, home)


def test_list_images(client: Client) -> None:
    assert client.call("GET", "").json() == {"data": []}
    first, second = client.add(2)
    images = client.call("GET", "").json()
    assert images == {
        "data": [
            {"id": id, "url": images["data"][order]["url"], "altText": None, "order": order}
            for order, id in enumerate((first, second))
        ]
    }
    assert images["data"][0]["url"].startswith(f"{client.live}/{client.prefix}")


def test_presign_batch(client: Client) -> None:
    client.tickets(
        {"fileName": "kitchen.jpg", "contentType": "image/jpeg", "sizeBytes": 1500000},
        {"fileName": "bath.png", "contentType": "image/png", "sizeBytes": 800000},
    )


def test_presign_batch_over_max_images(client: Client) -> None:
    client.add(1)
    file = {"fileName": "kitchen.jpg", "contentType": "image/jpeg", "sizeBytes": 1500000}
    refused = client.call("POST", "/presign-batch", {"images": [file] * 20}, 422).json()
    assert set(refused["error"]) == {"code", "message", "details"}


def test_confirm_batch(client: Client, photo: Callable[[str], bytes]) -> None:
    client.add(1)  # so that the orders are the example's 1 and 2
    kitchen, bath = photo("j13_s90_10mp.jpg"), photo("p1_real_3mp.png")
    files = [
        {"fileName": "kitchen.jpg", "contentType": "image/jpeg", "sizeBytes": len(kitchen)},
        {"fileName": "bath.png", "contentType": "image/png", "sizeBytes": len(bath)},
    ]
    k, b = client.tickets(*files)
    for ticket, file, data in ((k, files[0], kitchen), (b, files[1], bath)):
        assert factories.put(ticket["uploadUrl"], data, str(file["contentType"])).status_code == 200
    body = {
        "images": [
            {"r2Key": k["r2Key"], "contentType": "image/jpeg", "sizeBytes": len(kitchen), "altText": "Kitchen"},
            {"r2Key": b["r2Key"], "contentType": "image/png", "sizeBytes": len(bath)},
        ]
    }
    before = client.events()
    response = client.call("POST", "/confirm-batch", body, 201)
    first, second = (str(UUID(each["id"])) for each in response.json()["data"])
    assert response.json() == {
        "data": [
            {"id": first, "url": f"{client.live}/{k['r2Key']}", "altText": "Kitchen", "order": 1},
            {"id": second, "url": f"{client.live}/{b['r2Key']}", "altText": None, "order": 2},
        ]
    }
    assert "Location" not in response.headers
    assert client.events() == before + 1


@pytest.fixture
def example() -> Iterator[str]:
    """A host with the two photos of the contract's example."""
    with outside(lambda seen: Reply(body=factories.jpeg(64, 48 + int(seen.path[-5])))) as host:
        yield host.url


def test_import_and_poll(client: Client, example: str) -> None:
    urls = [f"{example}/listing-photo-1.jpg", f"{example}/listing-photo-2.jpg"]
    started = client.call("POST", "/import", {"urls": urls}, 202).json()
    job_id = str(UUID(started["data"]["jobId"]))
    assert started == {"data": {"jobId": job_id, "status": "pending", "totalUrls": 2}}
    pending = client.call("GET", f"/import/{job_id}").json()["data"]
    assert (pending["status"], pending["completedAt"]) == ("pending", None)

    db.session.rollback()  # ends the test's transaction, so that it sees what the server wrote
    assert fetch.run() == 2
    done = client.call("GET", f"/import/{job_id}").json()
    assert done == {
        "data": {
            "jobId": job_id,
            "status": "completed",
            "totalUrls": 2,
            "imported": 2,
            "failed": 0,
            "totalBytes": len(factories.jpeg(64, 49)) + len(factories.jpeg(64, 50)),
            "errors": [],
            "createdAt": pending["createdAt"],
            "completedAt": done["data"]["completedAt"],
        }
    }
    assert MOMENT.fullmatch(done["data"]["createdAt"])
    assert MOMENT.fullmatch(done["data"]["completedAt"])
    assert len(client.listed()) == 2


def test_delete_images(client: Client) -> None:
    (only,) = client.add(1)
    before = client.events()
    assert client.call("DELETE", "", {"imageIds": [only]}).json() == {"data": {"deleted": 1}}
    assert client.events() == before + 1
    assert client.listed() == []
    again = client.call("DELETE", "", {"imageIds": [only, "550e8400-e29b-41d4-a716-446655440000"]})
    assert again.json() == {"data": {"deleted": 0}}
    assert client.events() == before + 1


def test_reorder_images(client: Client) -> None:
    a, b, c = client.add(3)
    before = client.events()
    response = client.call("PATCH", "/reorder", {"imageIds": [c, a, b]})
    assert response.json() == {"ok": True}
    assert [(each["id"], each["order"]) for each in client.listed()] == [(c, 0), (a, 1), (b, 2)]
    assert client.events() == before + 1


TICKET = {"fileName": "living-room.jpg", "contentType": "image/jpeg", "sizeBytes": 2048576}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/presign", TICKET),
        ("POST", "/presign-batch", {"images": [TICKET]}),
        ("POST", "/import", {"urls": ["https://example.com/listing-photo-1.jpg"]}),
        ("DELETE", "", {"imageIds": ["550e8400-e29b-41d4-a716-446655440000"]}),
        ("PATCH", "/reorder", {"imageIds": ["img-id-for-order-0"]}),
    ],
)
def test_422_property_not_found(client: Client, method: str, path: str, body: Any) -> None:
    client.images = "/api/v1/properties/prop456/images"
    assert client.call(method, path, body, 422).json()["error"]["code"] == "property_not_found"


def test_422_content_type_not_allowed(client: Client) -> None:
    refused = client.call("POST", "/presign", {**TICKET, "contentType": "image/gif"}, 422).json()
    assert refused["error"]["code"] == "content_type_not_allowed"


def test_content_type_matching(client: Client) -> None:
    """ "Notes", "Content-Type matching"."""
    ticket = client.call("POST", "/presign", TICKET).json()["data"]
    assert factories.put(ticket["uploadUrl"], b"x" * 2048576, "image/png").status_code == 403
