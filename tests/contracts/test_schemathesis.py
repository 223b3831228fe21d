"""Schemathesis over our own OpenAPI file, against the running server, as two workspaces.

By default one call of each operation; the storm tier makes more, and tries the edges of each field and every example.
`SCHEMATHESIS_EXAMPLES=200 pytest tests/contracts/test_schemathesis.py -m storm` makes that many of each operation;
SCHEMATHESIS_SEED selects others.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask import Flask

from portal.images.models import Property
from portal.webhooks import endpoints
from tests import factories
from tests.factories import Person
from tests.listings import stays

FEW = ("1", "fuzzing")
MANY = (os.environ.get("SCHEMATHESIS_EXAMPLES", "12"), "examples,coverage,fuzzing,stateful")
LIMIT_S = 840
SEED = os.environ.get("SCHEMATHESIS_SEED", "20261123")
USUAL = ["2xx", "400", "404", "422", "429"]
EXPECTED = {
    "usual": USUAL,
    "list": [*USUAL, "304"],  # an If-None-Match that matches
    "reorder": [*USUAL, "412"],  # an If-Match other than the list's ETag
    "send": [*USUAL, "409"],  # to a disabled webhook
    "retry": [*USUAL, "409"],  # while the Image CDN is off
    "connect": [*USUAL, "409"],  # an account that is connected already
}
CONFIG = """
[auth.wfc]
path = {auth}
peers = ["alice", "charlie"]

[checks.positive_data_acceptance]
# What the schema cannot express is a 422 of the domain: a key that was never presigned, an absent property.
# An invalid Idempotency-Key is a 400.
expected-statuses = {usual}

[[operations]]
include-name = "GET /api/v1/properties/{{id}}/images"
checks.positive_data_acceptance.expected-statuses = {list}

[[operations]]
include-name = "PATCH /api/v1/properties/{{id}}/images/reorder"
checks.positive_data_acceptance.expected-statuses = {reorder}

[[operations]]
include-name = ["POST /api/v1/webhooks/{{id}}/test", "POST /api/v1/webhooks/{{id}}/deliveries/{{deliveryId}}/resend"]
checks.positive_data_acceptance.expected-statuses = {send}

[[operations]]
include-name = "POST /api/v1/listings/{{id}}/images/{{imageId}}/retry"
checks.positive_data_acceptance.expected-statuses = {retry}

[[operations]]
include-name = [
    "POST /api/v1/integration-definition/{{provider}}/accounts",
    "PATCH /api/v1/integration-definition/{{provider}}/accounts/{{id}}",
]
checks.positive_data_acceptance.expected-statuses = {connect}

[[operations]]
# The two documented 500 responses (Manage Property Images, "Error Responses") are compared by their exact body.
# A crash would have the same body, so the test looks for crashes in the log.
include-path = "/api/properties/{{id}}"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "500"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "413", "422", "429", "500"]
"""


@pytest.mark.parametrize(
    ("examples", "phases"),
    [
        pytest.param(*FEW, marks=pytest.mark.slow),
        pytest.param(*MANY, marks=[pytest.mark.storm, pytest.mark.timeout(LIMIT_S + 60)]),
    ],
    ids=["few", "many"],
)
def test_no_server_error_no_undocumented_answer_and_nothing_of_the_other_workspace(
    app: Flask,
    live: str,
    alice: Person,
    charlie: Person,
    home: Property,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    examples: str,
    phases: str,
) -> None:
    if not find_spec("schemathesis"):
        pytest.skip("needs the test extra: schemathesis")
    for limit in ("API_CALLS_PER_KEY", "API_CALLS_PER_STRANGER"):
        monkeypatch.setitem(app.config, limit, "100000000 per minute")
    furnish(home, alice)
    furnish(factories.home_of(charlie.workspace), charlie)
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={written(tmp_path, alice=alice, charlie=charlie)}",
            "run",
            f"{live}/api/openapi.json",
            "--checks=all",
            f"--max-examples={examples}",
            f"--seed={SEED}",  # the same calls in each run: a random find must not fail an unrelated change
            f"--phases={phases}",
            "--workers=1",  # two could share an Idempotency-Key and rightly get a 409
            "--warnings=off",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], "crashes"


def furnish(home: Property, person: Person) -> None:
    factories.photo_in(home)
    endpoints.send_test(endpoints.create(person.workspace, "https://example.com/hook", ["property.updated"]))
    stays.told(stays.connected(person.workspace, {"clientId": "1", "clientSecret": "s"}), 2)


def written(folder: Path, **people: Person) -> Path:
    """Write the configuration, and beside it the keys of both workspaces; return its path."""
    users = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {person.key}"}]}
        for name, person in people.items()
    ]
    auth = folder / "auth.json"
    auth.write_text(json.dumps({"auth": users}))
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.format(auth=json.dumps(str(auth)), **EXPECTED))
    return config
