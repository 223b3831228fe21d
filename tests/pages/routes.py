"""Every route of the pages, read from the app itself, so that a new one can't escape the tests."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from flask import Flask
from werkzeug.routing import Rule

from portal.accounts import access
from portal.images import deletion, imports
from portal.images.models import Image, Property
from portal.pages.security import NON_PAGE_PREFIXES
from portal.webhooks import endpoints
from tests.factories import Person, photo_in
from tests.listings import stays

PUBLIC = {
    "properties.home",
    "settings.first",
    "session.sign_in_page",
    "session.sign_in",
    "session.link_page",
    "session.sign_in_by_link",
    "session.sign_out",
    *("guides.index", "guides.operate", "guides.integrate", "guides.extend"),
}


@dataclass(frozen=True)
class Route:
    """One method of one rule."""

    rule: Rule
    method: str

    def __str__(self) -> str:
        return f"{self.method} {self.rule.rule}"

    @property
    def is_public(self) -> bool:
        return self.rule.endpoint in PUBLIC

    @property
    def is_dashboard(self) -> bool:
        return self.rule.rule.startswith("/rq/")


def of(app: Flask) -> list[Route]:
    """Return every route of the pages, GET first."""
    rules = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(NON_PAGE_PREFIXES)]
    found = [Route(rule, method) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return sorted(found, key=str)


@dataclass(frozen=True)
class Things:
    """A person's things, by the parameter that names them in an address."""

    home: UUID
    photo: UUID
    key: UUID
    person: UUID
    webhook: UUID
    delivery: UUID
    deletion: UUID
    job: UUID
    account: UUID
    listing: UUID
    picture: UUID

    @classmethod
    def of(cls, person: Person, home: Property, image: Image) -> Things:
        """The existing things; those from the webhook on are created here."""
        key = access.api_keys(person.workspace)[-1]
        endpoint = endpoints.create(person.workspace, "https://example.com/hook", ["property.updated"])
        delivery = endpoints.send_test(endpoint)
        job = imports.start(home, ["https://example.com/a.jpg"])
        gone = deletion.delete(home, [str(photo_in(home).uuid)], undoable=True)
        assert gone.undo_token
        fixed = (home.uuid, image.uuid, key.uuid, person.user.uuid, endpoint.uuid, delivery.uuid)
        listing = stays.listed(person.workspace)
        pms = (stays.account_of(listing).uuid, listing.uuid, stays.images(listing)[0].uuid)
        return cls(*fixed, UUID(gone.undo_token), job.uuid, *pms)

    @classmethod
    def nobodys(cls) -> Things:
        return cls(*(uuid4() for _ in range(11)))

    @property
    def parents(self) -> dict[str, UUID]:
        """The things that contain others."""
        return {"home": self.home, "webhook": self.webhook, "listing": self.listing}

    def path(self, rule: Rule) -> str:
        """Fill in a rule's address. A KeyError here means that a new route has a parameter that is missing here."""
        places: dict[str, dict[str, object]] = {
            "/properties/": {"uuid": self.home, "photo": self.photo, "token": self.deletion, "job": self.job},
            "/listings/accounts/": {"uuid": self.account},
            "/listings/": {"uuid": self.listing, "image_uuid": self.picture, "provider": "hostaway"},
            "/jobs/": {"uuid": self.photo},
            "/settings/keys/": {"uuid": self.key},
            "/settings/people/": {"uuid": self.person},
            "/settings/webhooks/": {"uuid": self.webhook, "delivery_uuid": self.delivery},
            "/rq/": {
                "instance_number": 0,
                "queue_name": "pixels",
                "registry_name": "failed",
                "per_page": 8,
                "order": "asc",
                "page": 1,
                "job_id": "make_variants-1",
                "filename": "css/main.css",
            },
        }
        known = next((parts for prefix, parts in places.items() if rule.rule.startswith(prefix)), {})
        built = rule.build({name: known[name] for name in rule.arguments})
        assert built is not None
        return built[1]
