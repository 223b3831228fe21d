"""Every route of the API, and a world in which each row belongs to somebody: for the isolation tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portal.db import db
from portal.images import gallery, imports
from portal.images.models import Image, ImportJob, Property
from portal.images.uploads import UploadedFile
from portal.listings import catalogue
from portal.listings.models import IntegrationAccount, Listing
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery, Endpoint
from tests import factories
from tests.buckets import Buckets
from tests.factories import Person
from tests.listings import stays

ABSENT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ABSENT_NUMBER = "987654321"


@dataclass
class World:
    """Alice's rows (a home with a photo and an upload, another home, a listing, …) and Charlie's."""

    alice: Person
    bob: Person
    charlie: Person
    home: Property
    photo: Image
    arrived: UploadedFile
    den: Property
    den_photo: Image
    barn: Property
    job: ImportJob
    den_job: ImportJob
    hook: Endpoint
    den_hook: Endpoint
    hook_of_barn: Endpoint
    sent: Delivery
    den_sent: Delivery
    account: IntegrationAccount
    den_account: IntegrationAccount
    account_of_barn: IntegrationAccount
    listing: Listing
    den_listing: Listing
    listing_of_barn: Listing

    def outer(self, route: str) -> tuple[Any, Any, Any]:
        """Return what `<id>` may name: Alice's row, Charlie's, and another of Alice's."""
        if HOOK in route:
            return self.hook, self.den_hook, self.hook_of_barn
        if LISTING in route:
            return self.listing, self.den_listing, self.listing_of_barn
        if ACCOUNT in route:
            return self.account, self.den_account, self.account_of_barn
        return self.home, self.den, self.barn

    def inner(self, route: str) -> tuple[Any, Any]:
        """Return what the parameter after it may name: Alice's row and Charlie's."""
        if "<jobId>" in route:
            return self.job, self.den_job
        if LISTING in route:
            return catalogue.images(self.listing)[0], catalogue.images(self.den_listing)[0]
        return (self.sent, self.den_sent) if "<deliveryId>" in route else (self.photo, self.den_photo)


Body = Callable[[World], dict[str, Any] | None]
ONE, HOOKS, HOOK = "/api/v1/properties/<id>", "/api/v1/webhooks", "/api/v1/webhooks/<id>"
DEFINITIONS, LISTINGS = "/api/v1/integration-definition", "/api/v1/listings"
ACCOUNT, LISTING = f"{DEFINITIONS}/<provider>/accounts/<id>", f"{LISTINGS}/<id>"
MANAGED = "/api/properties/<id>"  # Manage Property Images: numbers only, admins only
ROUTES: dict[str, Body] = {
    "GET /api/v1/properties": lambda _: None,
    "POST /api/v1/properties": lambda _: {"name": "Barn"},
    f"GET {ONE}": lambda _: None,
    f"PATCH {ONE}": lambda _: {"name": "Mine"},
    f"DELETE {ONE}": lambda _: None,
    f"GET {ONE}/images": lambda _: None,
    f"POST {ONE}/images/presign": lambda _: {
        "fileName": "a.jpg",
        "contentType": "image/jpeg",
        "sizeBytes": 9,
    },
    f"POST {ONE}/images/confirm": lambda world: {
        "r2Key": world.arrived.key,
        "contentType": world.arrived.content_type,
        "sizeBytes": world.arrived.size_bytes,
    },
    f"GET {ONE}/images/<imageId>": lambda _: None,
    f"PATCH {ONE}/images/<imageId>": lambda _: {"altText": "Mine"},
    f"POST {ONE}/images/presign-batch": lambda _: {
        "images": [{"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}]
    },
    f"POST {ONE}/images/confirm-batch": lambda world: {"images": [ROUTES[f"POST {ONE}/images/confirm"](world)]},
    f"DELETE {ONE}/images": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"POST {ONE}/images/delete": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"PATCH {ONE}/images/reorder": lambda world: {"imageIds": [str(world.photo.uuid)]},
    f"POST {ONE}/images/import": lambda _: {"urls": ["http://127.0.0.1:9/a.jpg"]},
    f"GET {ONE}/images/import/<jobId>": lambda _: None,
    "GET /api/v1/usage": lambda _: None,
    f"POST {HOOKS}": lambda _: {"url": "https://example.com/hook", "events": ["property.updated"]},
    f"GET {HOOKS}": lambda _: None,
    f"GET {HOOK}": lambda _: None,
    f"PATCH {HOOK}": lambda _: {"enabled": False},
    f"DELETE {HOOK}": lambda _: None,
    f"POST {HOOK}/rotate-secret": lambda _: None,
    f"POST {HOOK}/test": lambda _: None,
    f"GET {HOOK}/deliveries": lambda _: None,
    f"POST {HOOK}/deliveries/<deliveryId>/resend": lambda _: None,
    f"GET {DEFINITIONS}": lambda _: None,
    f"PATCH {DEFINITIONS}/<provider>/images-cdn": lambda _: {"enableImagesCDN": False},
    f"GET {DEFINITIONS}/<provider>/accounts": lambda _: None,
    f"POST {DEFINITIONS}/<provider>/accounts": lambda _: {"credentials": {"clientId": "9", "clientSecret": "s"}},
    f"GET {ACCOUNT}": lambda _: None,
    f"PATCH {ACCOUNT}": lambda _: {"name": "Mine", "credentials": {"clientSecret": "mine"}},
    f"DELETE {ACCOUNT}": lambda _: None,
    f"POST {ACCOUNT}/sync": lambda _: None,
    f"GET {LISTINGS}": lambda _: None,
    f"GET {LISTING}": lambda _: None,
    f"GET {LISTING}/images": lambda _: None,
    f"POST {LISTING}/images/<imageId>/retry": lambda _: None,
    f"GET {MANAGED}": lambda _: None,
    f"PUT {MANAGED}": lambda world: {"imagesToDelete": [world.photo.id], "name": "Mine"},
}
"""Each route, with a body that succeeds for its owner."""


def furnished(alice: Person, bob: Person, charlie: Person, home: Property) -> World:
    """Create it all through the domain's own functions."""
    den = factories.home_of(charlie.workspace, "Corvid Loft")
    hook, other, den_hook = (
        endpoints.create(person.workspace, "https://example.com/hook", ["property.updated"])
        for person in (alice, alice, charlie)
    )
    account, account_of_barn, den_account = (
        stays.connected(person.workspace, {"clientId": id, "clientSecret": "s"})
        for person, id in ((alice, "1"), (alice, "2"), (charlie, "1"))
    )
    return World(
        alice,
        bob,
        charlie,
        home,
        factories.photo_in(home),
        factories.uploaded(home, factories.jpeg()),
        den,
        factories.photo_in(den),
        factories.home_of(alice.workspace, "Birch Barn"),
        imports.start(home, ["http://127.0.0.1:9/a.jpg"]),
        imports.start(den, ["http://127.0.0.1:9/a.jpg"]),
        hook,
        den_hook,
        other,
        endpoints.send_test(hook),
        endpoints.send_test(den_hook),
        account,
        den_account,
        account_of_barn,
        *(stays.told(each)[0] for each in (account, den_account, account_of_barn)),
    )


def everything(buckets: Buckets) -> Any:
    """Return all rows and objects, except the times when keys were last used."""
    db.session.rollback()
    tables = [table for table in db.metadata.sorted_tables if table.name != "api_key"]
    rows = {table.name: sorted(map(str, db.session.execute(table.select()))) for table in tables}
    return rows, buckets.listing()


def named(route: str, row: Any) -> Any:
    """Return what names a row in a path: the Manage Property Images contract has numbers only."""
    return row.id if MANAGED in route else row.uuid


def is_image_cdn(route: str) -> bool:
    return DEFINITIONS in route or LISTINGS in route


def absence(route: str) -> int:
    """Return the status of an absent row: a 422 on the Property Images API's writes, a 404 elsewhere."""
    return 404 if route.startswith("GET") or MANAGED in route or is_image_cdn(route) else 422


def ask(world: World, person: Person, route: str, outer: Any = "", inner: Any = "") -> tuple[int, bytes, Any]:
    """Return status, body and headers, except the date, the rate limit and the id of the request."""
    method, path = route.split(" ")
    path = path.replace("<provider>", "hostaway").replace("<id>", str(outer))
    path = re.sub(r"<\w+>", str(inner), path)
    response = person.api(method, path, json=ROUTES[route](world))
    headers = {(name, value) for name, value in response.headers if not re.match("Date|RateLimit|X-Request-Id", name)}
    return response.status_code, response.data, headers


def deletions_last(route: str) -> tuple[int, bool]:
    """Sort routes that share one world, so that each still finds its rows: deletions come last."""
    method, path = route.split(" ")
    return ["GET", "POST", "PUT", "PATCH", "DELETE"].index(method), path == ONE


def renew(world: World, route: str) -> None:
    """Replace what another route used up and this one needs: a photo, an upload to confirm."""
    world.photo = next(iter(gallery.images(world.home)), None) or factories.photo_in(world.home)
    if "confirm" in route:
        world.arrived = factories.uploaded(world.home, factories.jpeg())
