"""POST …/images/import and its poll (Property Images API, "Import Images by URL" and "Poll Import Job")."""

from __future__ import annotations

import re
from typing import Any

import pytest

from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import imports
from portal.images.imports import fetch
from portal.images.models import ImportJob, Property
from tests import factories
from tests.factories import Person
from tests.outside import Reply, Seen, outside

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def at(home: Property) -> str:
    return f"/api/v1/properties/{home.uuid}/images/import"


def start(person: Person, home: Property, urls: Any, **headers: str) -> Any:
    return person.api("POST", at(home), json={"urls": urls}, headers=headers)


def poll(person: Person, home: Property, job_id: str) -> Any:
    response = person.api("GET", f"{at(home)}/{job_id}")
    assert response.status_code == 200
    return response.json["data"]


def photo(seen: Seen) -> Reply:
    return Reply(404) if "gone" in seen.path else Reply(body=factories.jpeg(64, 48))


def test_an_import_is_accepted_immediately_and_polled_for_its_result(alice: Person, home: Property) -> None:
    with outside(photo) as host:
        response = start(alice, home, [f"{host.url}/a.jpg", f"{host.url}/gone.jpg"])
        assert response.status_code == 202
        job_id = response.json["data"]["jobId"]
        assert response.json == {"data": {"jobId": job_id, "status": "pending", "totalUrls": 2}}
        before = poll(alice, home, job_id)
        assert (before["status"], before["completedAt"], before["imported"]) == ("pending", None, 0)
        fetch.run()
    after = poll(alice, home, job_id)
    (error,) = after.pop("errors")
    assert list(error) == ["url", "code", "message"]
    assert (error["url"], error["code"]) == (f"{host.url}/gone.jpg", "http_error")
    assert MOMENT.fullmatch(after["createdAt"])
    assert MOMENT.fullmatch(after["completedAt"])
    counts = {"status": "completed", "totalUrls": 2, "imported": 1, "failed": 1}
    assert {name: after[name] for name in counts} == counts
    assert after["totalBytes"] == len(factories.jpeg(64, 48))
    assert len(alice.api("GET", f"/api/v1/properties/{home.uuid}/images").json["data"]) == 1


def test_an_import_that_imported_nothing_has_failed(alice: Person, home: Property) -> None:
    with outside(photo) as host:
        job_id = start(alice, home, [f"{host.url}/gone.jpg"]).json["data"]["jobId"]
        fetch.run()
    done = poll(alice, home, job_id)
    assert (done["status"], done["imported"], done["failed"]) == ("failed", 0, 1)
    assert done["completedAt"]


def test_a_duplicate_url_counts_as_failed(alice: Person, home: Property) -> None:
    url = "http://127.0.0.1:9/a.jpg"
    response = start(alice, home, [url, url])
    assert response.json["data"]["totalUrls"] == 2
    (error,) = poll(alice, home, response.json["data"]["jobId"])["errors"]
    assert (error["url"], error["code"]) == (url, "duplicate_url")


UNUSABLE = [
    ([], None),
    (["http://a.example/x.jpg"] * 21, None),
    (["http://a.example/x.jpg", "ftp://a.example/x.jpg"], 1),
    (["http://a.example/" + "x" * 2048], 0),
    (["http://a.example/x.jpg", 1], 1),
    (["http://a.example/\0"], 0),
    ("http://a.example/x.jpg", None),
    (None, None),
]


def test_urls_that_could_never_be_fetched_are_a_422(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for urls, index in UNUSABLE:
        with subtests.test(urls=urls, index=index):
            response = start(alice, home, urls)
            assert response.status_code == 422
            assert (response.json["error"]["details"] or {}).get("index") == index
            assert db.session.query(ImportJob).count() == 0


def test_an_exhausted_monthly_budget_is_a_422_that_names_the_numbers(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=20, imports_per_month=1))
    response = start(alice, home, ["http://a.example/1.jpg", "http://a.example/2.jpg"])
    assert (response.status_code, response.json["error"]["code"]) == (422, "quota_exceeded")
    said = {"limit": "importsPerMonth", "max": 1, "used": 0, "requested": 2}
    assert response.json["error"]["details"] == said
    assert imports.budget(alice.workspace).used == 0


def test_an_import_past_the_propertys_limit_is_a_422(
    alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=1, imports_per_month=9))
    response = start(alice, home, ["http://a.example/1.jpg", "http://a.example/2.jpg"])
    assert response.status_code == 422
    assert response.json["error"]["details"]["limit"] == "imagesPerProperty"


def test_an_idempotency_key_starts_one_import(alice: Person, home: Property) -> None:
    key = {"Idempotency-Key": "6d1c"}
    first, second = (start(alice, home, ["http://a.example/1.jpg"], **key) for _ in range(2))
    assert (second.status_code, second.data) == (202, first.data)
    assert db.session.query(ImportJob).count() == 1
    assert imports.budget(alice.workspace).used == 1


def test_an_unknown_import_is_a_404(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for job_id in ("9f1e1f2a-5b7c-4d3e-8f90-a1b2c3d4e5f6", "1", "nonsense"):
        with subtests.test(job_id=job_id):
            assert alice.api("GET", f"{at(home)}/{job_id}").status_code == 404
