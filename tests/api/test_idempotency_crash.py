"""G12: killed at any step of a write under an Idempotency-Key, the retry has one effect and its answer."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from portal import config
from portal.accounts.models import IdempotencyRecord
from portal.db import db, now
from portal.images import gallery
from portal.images.models import Property
from portal.work import work
from tests import factories
from tests.factories import Person

PATH = "/api/v1/properties"
KEY = {"Idempotency-Key": "6d1c"}

CHILD = """
import os, pickle, sys
settings, step, secret, path, body = pickle.load(sys.stdin.buffer)
from app import create_app
from portal.accounts import idempotency
from portal.api import homes, images

def dying(module, name, after):
    function = getattr(module, name)
    def dies(*args, **kwargs):
        if after:
            function(*args, **kwargs)
        os._exit(9)
    setattr(module, name, dies)

app = create_app(settings)
if step == "claimed":
    dying(homes.properties, "create", after=False)
    dying(images.uploads, "confirm", after=False)
if step == "changed":
    dying(idempotency, "keep", after=False)
if step == "answered":
    dying(idempotency, "keep", after=True)
if step == "committed":
    app.after_request(lambda response: os._exit(9))
headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "6d1c"}
app.test_client().post(path, json=body, headers=headers)
"""


def effects(home: Property) -> int:
    db.session.rollback()
    return len(gallery.images(home)) + db.session.query(Property).count() - 1


STEPS = ("claimed", "changed", "answered", "committed")


@pytest.mark.parametrize(
    ("route", "step"),
    [("create", step) for step in STEPS]
    + [("confirm", "changed")]
    + [pytest.param("confirm", step, marks=pytest.mark.slow) for step in STEPS],
)
def test_g12_killed_at_any_step_the_retry_has_one_effect_and_its_answer(
    app: Flask, alice: Person, home: Property, route: str, step: str
) -> None:
    path, body = PATH, dict[str, Any](name="Barn")
    if route == "confirm":
        arrived = factories.uploaded(home, factories.jpeg())
        path = f"{PATH}/{home.uuid}/images/confirm"
        body = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    sent = pickle.dumps((config.settings(), step, alice.key, path, body))
    died = subprocess.run([sys.executable, "-c", CHILD], input=sent, cwd=Path(__file__).parents[2], check=False)
    assert died.returncode == 9
    done = step == "committed"
    assert effects(home) == done, "the effect and its answer: both or neither"
    assert db.session.query(IdempotencyRecord).filter(IdempotencyRecord.status.is_not(None)).count() == done
    if not done:
        assert alice.api("POST", path, json=body, headers=KEY).status_code == 409
        with work():  # a minute passes
            db.session.execute(update(IdempotencyRecord).values(claimed_at=now() - timedelta(seconds=61)))
    response = alice.api("POST", path, json=body, headers=KEY)
    assert response.status_code == 201
    assert ("Idempotent-Replayed" in response.headers) == done
    assert alice.api("GET", response.headers["Location"]).json == response.json
    assert effects(home) == 1
