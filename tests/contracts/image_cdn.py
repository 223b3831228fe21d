"""A client of the Image CDN contract: requests over HTTP, and the workers' part between them."""

from __future__ import annotations

import hashlib
from typing import Any

import requests

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import PmsReply
from portal.infra import storage
from portal.listings import copies, sync
from tests.factories import Person
from tests.listings import stays

DEFINITIONS, LISTINGS = "/api/v1/integration-definition", "/api/v1/listings"
ENABLE, DISABLE = {"enableImagesCDN": True}, {"enableImagesCDN": False}  # the contract's two bodies
THUMBNAIL, GALLERY = "THUMBNAIL", "GALLERY"
Json = Any


class ImageCdn:
    """An integrator with an API key and an account in a PMS."""

    def __init__(self, host: str, person: Person, pms: FakeHostaway) -> None:
        self.host, self.person, self.pms = host, person, pms
        self.account = self.said("POST", f"{DEFINITIONS}/HOSTAWAY/accounts", {"credentials": pms.credentials})

    def ask(self, method: str, path: str, body: Json = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.person.key}"}
        response = requests.request(method, f"{self.host}{path}", json=body, headers=headers, timeout=60)
        db.session.rollback()  # ends the test's transaction, so that it sees what the request changed
        return response

    def said(self, method: str, path: str, body: Json = None) -> Json:
        response = self.ask(method, path, body)
        assert response.ok, response.text
        return response.json() if response.content else None

    def switch(self, body: Json, provider: str = "HOSTAWAY") -> Json:
        return self.said("PATCH", f"{DEFINITIONS}/{provider}/images-cdn", body)

    def sync(self) -> None:
        """Run a listing sync, which queues images but uploads none."""
        self.said("POST", f"{DEFINITIONS}/HOSTAWAY/accounts/{self.account['id']}/sync")
        sync.run()
        db.session.rollback()

    def upload(self) -> None:
        """Upload the queued images."""
        copies.run()
        db.session.rollback()

    def cycle(self) -> None:
        self.sync()
        self.upload()

    def wait_for_its_time(self) -> None:
        """Let the pauses before retries and verifications pass, then upload."""
        stays.all_at_once()
        self.upload()

    def serve(self, number: int, data: bytes, type: str = "image/jpeg", listing: int = 1) -> None:
        """Have the PMS answer the next request for a picture with these bytes."""
        self.fail(number, PmsReply(200, data, {"Content-Type": type}), listing=listing)

    def serve_large(self, number: int, data: bytes) -> None:
        """Serve bytes past the usual size: they are requested twice, the second time as one of a few at a time."""
        self.fail(number, PmsReply(200, data, {"Content-Type": "image/jpeg"}), times=2)

    def fail(self, number: int, said: PmsReply | int, times: int = 1, listing: int = 1) -> None:
        """Have the PMS give this answer to the next requests for a picture."""
        picture = self.pms.catalogue.listings[listing].pictures[number]
        self.pms.fail_next(times, said, below=f"/pictures/{picture.name}")

    def pms_url(self, number: int, listing: int = 1) -> str:
        return self.pms.url_of(self.pms.catalogue.listings[listing].pictures[number])

    @property
    def downloads(self) -> int:
        return self.pms.count("/pictures/")

    def listings(self) -> list[Json]:
        return list(self.said("GET", LISTINGS)["listings"])

    def listing(self, number: int = 1) -> Json:
        """Return one listing, checking that its own route answers the same as the list."""
        found = next(each for each in self.listings() if each["externalID"] == str(number))
        alone = self.said("GET", f"{LISTINGS}/{found['id']}")
        assert alone == found
        return alone

    def pictures(self, listing: int = 1) -> list[str]:
        return [picture["url"] for picture in self.listing(listing)["pictures"]]

    def images(self, listing: int = 1) -> list[Json]:
        """Return the ListingImage records of a listing."""
        return list(self.said("GET", f"{LISTINGS}/{self.listing(listing)['id']}/images"))

    def image(self, number: int, type: str = GALLERY, listing: int = 1) -> Json:
        """Return the record of a picture's current URL."""
        url = self.pms_url(number, listing)
        (found,) = (each for each in self.images(listing) if (each["originalURL"], each["imageType"]) == (url, type))
        return found

    def key(self, url: str) -> str:
        """Return a copy's key in the bucket."""
        base = f"{self.host}/cdn/"
        assert url.startswith(base), url
        return url.removeprefix(base)

    def served(self, url: str) -> bytes:
        """Return the bytes behind a CDN URL."""
        response = requests.get(url, timeout=60)
        assert response.status_code == 200, url
        return response.content


def objects() -> set[str]:
    """Return the keys in the CDN bucket."""
    return {stored.key for stored in storage.cdn.list()}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
