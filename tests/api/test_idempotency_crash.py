"""A process killed at any step of a write under an Idempotency-Key: the retry has one effect and its response."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import current_app
from sqlalchemy import update

from portal import config
from portal.accounts import idempotency
from portal.accounts.models import IdempotencyRecord
from portal.api import images, properties
from portal.db import db, now
from portal.images import gallery
from portal.images.models import Property
from portal.work import work
from tests import factories
from tests.crashes import Steps, dies_at
from tests.factories import Person

PATH = "/api/v1/properties"
KEY = {"Idempotency-Key": "6d1c"}
NEVER = 10_000
ROUTES = ("create", "confirm")


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(module: Any, name: str, *, after: bool) -> None:
    """Have a function kill its process, before or after it does its work."""
    function: Callable[..., Any] = getattr(module, name)

    def dies(*args: Any, **kwargs: Any) -> None:
        if after:
            function(*args, **kwargs)
        die()

    setattr(module, name, dies)


def send(secret: str, path: str, body: Any, moment: str = "") -> None:
    """Send a request in a process that is killed at a step, or at one of these moments."""
    if moment == "claimed":
        dying(properties.properties, "create", after=False)
        dying(images.uploads, "confirm", after=False)
    if moment in ("changed", "answered"):
        dying(idempotency, "store_answer", after=moment == "answered")
    current_app.test_client().post(path, json=body, headers={"Authorization": f"Bearer {secret}", **KEY})
    if moment == "committed":
        die()


def wanted(route: str, home: Property) -> tuple[str, dict[str, Any]]:
    """Return a path and a body that have not been sent yet."""
    if route == "create":
        return PATH, {"name": "Barn"}
    arrived = factories.uploaded(home, factories.jpeg())
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    return f"{PATH}/{home.uuid}/images/confirm", said


def effects(home: Property) -> int:
    db.session.rollback()
    return len(gallery.images(home)) + db.session.query(Property).count()


def records() -> tuple[int, int]:
    """Return how many keys are claimed and how many of them have a response."""
    claimed = db.session.query(IdempotencyRecord)
    return claimed.count(), claimed.filter(IdempotencyRecord.status.is_not(None)).count()


def assert_a_retry_makes_it_good(alice: Person, home: Property, path: str, body: Any, *, effects_before: int) -> bool:
    """Check that a retry leaves one effect and its response; return whether the killed request had its effect."""
    done = effects(home) - effects_before
    claimed, answered = records()
    assert done == answered, "the effect and its response: both or neither"
    if claimed > answered:
        assert alice.api("POST", path, json=body, headers=KEY).status_code == 409
        with work():  # a minute passes
            db.session.execute(update(IdempotencyRecord).values(claimed_at=now() - timedelta(seconds=61)))
    response = alice.api("POST", path, json=body, headers=KEY)
    assert response.status_code == 201
    assert ("Idempotent-Replayed" in response.headers) == bool(done)
    assert alice.api("GET", response.headers["Location"]).json == response.json
    assert effects(home) == effects_before + 1
    return bool(done)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["committed", "claimed", "changed", "answered"])
@pytest.mark.parametrize("route", ["create", "confirm"])
def test_a_retry_after_a_kill_at_a_named_moment_has_one_effect(
    alice: Person, home: Property, route: str, moment: str
) -> None:
    path, body = wanted(route, home)
    before = effects(home)
    assert not dies_at(NEVER, config.settings(), send, alice.key, path, body, moment)
    done = assert_a_retry_makes_it_good(alice, home, path, body, effects_before=before)
    assert done == (moment == "committed")


@pytest.mark.parametrize("route", ROUTES)
def test_a_retry_after_a_kill_at_any_step_has_one_effect(alice: Person, route: str, steps: Steps) -> None:
    deaths = 0
    for step in steps:
        home = factories.home_of(alice.workspace, f"Step {step}")  # an empty gallery
        with work():
            db.session.query(IdempotencyRecord).delete()
        path, body = wanted(route, home)
        before = effects(home)
        lived = dies_at(step, config.settings(), send, alice.key, path, body)
        assert_a_retry_makes_it_good(alice, home, path, body, effects_before=before)
        if lived:
            break
        deaths += 1
    steps.assert_found(deaths, at_least=15)
