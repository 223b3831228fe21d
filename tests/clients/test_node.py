"""An integrator whose program is in another language: Node, its HTTP client, npm's check of our signatures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from portal.config import Settings
from portal.images.models import Property
from tests import factories
from tests.factories import Person
from tests.workers.conftest import pool

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
SCRIPT = Path(__file__).with_name("upload.mjs")
PACKAGE = "standardwebhooks@1"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and the package that it imports."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", PACKAGE]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    shutil.copy(SCRIPT, folder)
    return folder


def test_a_node_program_uploads_a_photo_and_trusts_the_webhook(
    app: Flask, settings: Settings, live: str, alice: Person, home: Property, project: Path
) -> None:
    photo = project / "photo.jpg"
    photo.write_bytes(factories.jpeg())
    env = {"API": f"{live}/api/v1", "KEY": alice.key, "PROPERTY": str(home.uuid), "PHOTO": str(photo)}
    with pool(settings, app, "webhooks"):
        command = ["node", SCRIPT.name]
        done = subprocess.run(command, cwd=project, env=os.environ | env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["put"] == 200
    assert found["listed"] == [found["image"]]
    assert found["event"]["type"] == "property.updated"
