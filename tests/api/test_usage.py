"""GET /api/v1/usage (an extension): each number that can block a request, and when it is freed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from portal.accounts import access
from portal.images import imports, uploads, usage
from portal.images.imports import fetch, lifecycle
from portal.images.models import Property
from portal.images.uploads import AnnouncedFile
from tests import factories
from tests.factories import Person
from tests.outside import Reply, outside


def used(person: Person) -> Any:
    response = person.api("GET", "/api/v1/usage")
    assert response.status_code == 200
    return response.json["data"]


def test_an_empty_workspace_uses_nothing(alice: Person) -> None:
    data = used(alice)
    resets_at = data["importsThisMonth"].pop("resetsAt")
    assert resets_at > f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    assert resets_at.endswith("-01T00:00:00.000Z")
    assert data == {
        "plan": {"name": "free", "title": "Free"},
        "properties": 0,
        "images": 0,
        "sizeBytes": 0,
        "imagesPerProperty": {"limit": 20, "fullest": None},
        "importsThisMonth": {"used": 0, "pending": 0, "limit": 200},
        "uploadsOutstanding": {"unconfirmed": 0, "limitPerProperty": 60, "nextExpiresAt": None},
    }


def test_every_number_is_read_from_the_rows(alice: Person, charlie: Person, home: Property) -> None:
    factories.photo_in(factories.home_of(charlie.workspace))
    barn = factories.home_of(alice.workspace, "Barn")
    size = sum(factories.photo_in(where).size_bytes for where in (home, barn, barn))
    (reserved,) = uploads.presign(home, [AnnouncedFile("a.jpg", "image/jpeg", 9)])
    upload = uploads.find_upload(home, reserved.key)
    data = used(alice)
    assert (data["properties"], data["images"], data["sizeBytes"]) == (2, 3, size)
    fullest = {"id": str(barn.uuid), "numericId": barn.id, "name": "Barn", "used": 2}
    assert data["imagesPerProperty"]["fullest"] == fullest
    assert data["uploadsOutstanding"]["unconfirmed"] == 1
    assert upload and data["uploadsOutstanding"]["nextExpiresAt"][:19] == f"{upload.expires_at:%Y-%m-%dT%H:%M:%S}"


def test_an_import_is_pending_then_used_and_a_failure_is_neither(alice: Person, home: Property) -> None:
    def reply(seen: Any) -> Reply:
        return Reply(404) if "gone" in seen.path else Reply(body=factories.jpeg(32, 24))

    def counts() -> tuple[int, int]:
        month = used(alice)["importsThisMonth"]
        return month["used"], month["pending"]

    with outside(reply) as host:
        imports.start(home, [f"{host.url}/a.jpg", f"{host.url}/gone.jpg"])
        assert counts() == (0, 2)
        fetch.run()
    assert counts() == (1, 0)


def test_the_december_budget_resets_in_january(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "now", lambda: datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    assert usage.imports_this_month(alice.workspace).resets_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_key_that_may_only_write_is_refused(app: Any, alice: Person) -> None:
    writer = access.create_api_key(alice.workspace, "Writer", scopes={"images:write"}).secret
    headers = {"Authorization": f"Bearer {writer}"}
    assert app.test_client().get("/api/v1/usage", headers=headers).status_code == 403
