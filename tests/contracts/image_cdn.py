"""Seed A's client: what an integrator asks over HTTP, and the workers' part between the questions."""

from __future__ import annotations

import hashlib
from typing import Any

import requests

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import Said
from portal.infra import storage
from portal.listings import copies, sync
from tests.factories import Person
from tests.listings import stays

DEFINITIONS, LISTINGS = "/api/v1/integration-definition", "/api/v1/listings"
ENABLE, DISABLE = {"enableImagesCDN": True}, {"enableImagesCDN": False}  # the document's two bodies
THUMBNAIL, GALLERY = "THUMBNAIL", "GALLERY"
Json = Any


class ImageCdn:
    """Somebody with an API key, and an account of hers in a PMS."""

    def __init__(self, host: str, person: Person, pms: FakeHostaway) -> None:
        self.host, self.person, self.pms = host, person, pms
        self.account = self.said("POST", f"{DEFINITIONS}/HOSTAWAY/accounts", {"credentials": pms.credentials})

    def ask(self, method: str, path: str, body: Json = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.person.key}"}
        response = requests.request(method, f"{self.host}{path}", json=body, headers=headers, timeout=60)
        db.session.rollback()  # the test's own reading ends, so that it sees what the request did
        return response

    def said(self, method: str, path: str, body: Json = None) -> Json:
        response = self.ask(method, path, body)
        assert response.ok, response.text
        return response.json() if response.content else None

    def switch(self, body: Json, provider: str = "HOSTAWAY") -> Json:
        return self.said("PATCH", f"{DEFINITIONS}/{provider}/images-cdn", body)

    def sync(self) -> None:
        """Have a listing sync run; its images are queued by it, and not more than that."""
        self.said("POST", f"{DEFINITIONS}/HOSTAWAY/accounts/{self.account['id']}/sync")
        sync.run()
        db.session.rollback()

    def upload(self) -> None:
        """Have the queued images uploaded."""
        copies.run()
        db.session.rollback()

    def cycle(self) -> None:
        self.sync()
        self.upload()

    def wait_for_its_time(self) -> None:
        """Let pass what time a retry or a verification waits for, then upload."""
        stays.all_at_once()
        self.upload()

    def serve(self, number: int, data: bytes, type: str = "image/jpeg", listing: int = 1) -> None:
        """Have the PMS answer the next request for a picture with these bytes."""
        self.fail(number, Said(200, data, {"Content-Type": type}), listing=listing)

    def serve_large(self, number: int, data: bytes) -> None:
        """The same with bytes that are more than usual: they are asked for twice, as one of a few at a time."""
        self.fail(number, Said(200, data, {"Content-Type": "image/jpeg"}), times=2)

    def fail(self, number: int, said: Said | int, times: int = 1, listing: int = 1) -> None:
        """Have the PMS answer this to the next requests for a picture."""
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
        """One listing by itself; it is the same as in the list."""
        found = next(each for each in self.listings() if each["externalID"] == str(number))
        alone = self.said("GET", f"{LISTINGS}/{found['id']}")
        assert alone == found
        return alone

    def pictures(self, listing: int = 1) -> list[str]:
        return [picture["url"] for picture in self.listing(listing)["pictures"]]

    def images(self, listing: int = 1) -> list[Json]:
        """The ListingImage records of a listing."""
        return list(self.said("GET", f"{LISTINGS}/{self.listing(listing)['id']}/images"))

    def image(self, number: int, type: str = GALLERY, listing: int = 1) -> Json:
        """The record of the URL that a picture has now."""
        url = self.pms_url(number, listing)
        (found,) = (each for each in self.images(listing) if (each["originalURL"], each["imageType"]) == (url, type))
        return found

    def key(self, url: str) -> str:
        """The name of a copy in the bucket."""
        base = f"{self.host}/cdn/"
        assert url.startswith(base), url
        return url.removeprefix(base)

    def served(self, url: str) -> bytes:
        """What the world gets behind a CDN URL."""
        response = requests.get(url, timeout=60)
        assert response.status_code == 200, url
        return response.content


def objects() -> set[str]:
    """What lies in the CDN bucket."""
    return {stored.key for stored in storage.cdn.list()}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
