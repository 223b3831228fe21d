"""Rate limits: every route counts, the limit is exact, and nothing evades it.

Limits of one key and of one address are in test_auth.py, a Redis that hangs in tests/test_redis_hangs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from portal.accounts.models import IdempotencyRecord
from portal.db import db
from portal.images.models import Property, Upload
from portal.infra import jobs
from tests.api.world import ABSENT, ROUTES
from tests.factories import Person

FILE = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 9}


def presign(person: Person, home: Any, **headers: str) -> Any:
    path = f"/api/v1/properties/{home}/images/presign-batch"
    return person.api("POST", path, json={"images": [FILE]}, headers=headers)


@pytest.fixture
def few(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "5 per minute")


def test_every_route_is_counted(few: None, alice: Person, subtests: pytest.Subtests) -> None:
    for route in ROUTES:
        method, path = route.split(" ")
        for name in ("<id>", "<imageId>", "<jobId>", "<deliveryId>"):
            path = path.replace(name, ABSENT)
        jobs.connection().flushall()  # resets the counters
        with subtests.test(route=route):
            answers = [alice.api(method, path) for _ in range(6)]
            assert [answer.status_code == 429 for answer in answers] == [False] * 5 + [True]
            said = answers[5].json
            code = said.get("error", said).get("code")
            assert code == "too_many_requests" if "/v1/" in path else said["success"] is False
            assert int(answers[5].headers["Retry-After"]) >= 1
            assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]


def test_exactly_as_many_concurrent_writes_as_the_limit_have_an_effect(
    few: None, alice: Person, home: Property, at_once: Callable[..., list[Any]]
) -> None:
    ref = home.uuid  # read here: another thread cannot load this session's row
    codes = [answer.status_code for answer in at_once(lambda: presign(alice, ref), *[()] * 20)]
    assert (codes.count(200), codes.count(429)) == (5, 15)
    assert db.session.query(Upload).count() == 5


def test_exactly_a_hundred_of_200_concurrent_calls_pass(
    app: Flask, alice: Person, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_KEY", "100 per minute")

    def ask_ten_times() -> list[int]:
        return [alice.api("GET", "/api/v1/usage").status_code for _ in range(10)]

    codes = [code for ten in at_once(ask_ten_times, *[()] * 20) for code in ten]
    assert (codes.count(200), codes.count(429)) == (100, 100)


def test_a_429_claims_no_idempotency_key(few: None, alice: Person, home: Property) -> None:
    for _ in range(5):
        alice.api("GET", "/api/v1/usage")
    assert presign(alice, home.uuid, **{"Idempotency-Key": "6d1c"}).status_code == 429
    assert db.session.query(IdempotencyRecord).count() == 0


def test_no_header_evades_the_limit(few: None, alice: Person, subtests: pytest.Subtests) -> None:
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Original-Forwarded-For"):
        jobs.connection().flushall()
        with subtests.test(header=header):
            codes = [alice.api("GET", "/api/v1/usage", headers={header: f"192.0.2.{n}"}).status_code for n in range(6)]
            assert codes == [200] * 5 + [429]


def test_no_header_evades_the_limit_without_a_key(
    app: Flask, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setitem(app.config, "API_CALLS_PER_STRANGER", "2 per minute")
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        jobs.connection().flushall()
        with subtests.test(header=header):
            client = app.test_client()
            codes = [client.get("/api/v1/usage", headers={header: f"192.0.2.{n}"}).status_code for n in range(3)]
            assert codes == [401, 401, 429]


def test_the_documentation_needs_no_key_and_has_no_limit(few: None, app: Flask) -> None:
    for path in ("/api/openapi.json", "/api/docs"):
        codes = {app.test_client().get(path).status_code for _ in range(7)}
        assert codes == {200}


def test_a_call_makes_one_round_trip_to_redis(app: Flask, alice: Person, home: Property) -> None:
    """Counting the call, what is left and when the window ends take one script."""
    alice.api("GET", "/api/v1/usage")  # loads the script
    before = jobs.connection().info("stats")["total_reads_processed"]
    for n in range(1, 6):
        answer = alice.api("GET", f"/api/v1/properties/{home.uuid}/images")
        assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (200, str(600 - 1 - n))
    asked = jobs.connection().info("stats")["total_reads_processed"] - before - 1  # INFO is a round trip itself
    assert asked == 5
