"""RQ is a version that our worker was tried with."""

from __future__ import annotations

import tomllib
from importlib.metadata import version

from tests.processes import ROOT
from workers.worker import TESTED_RQ_VERSION


def test_the_installed_rq_was_tried() -> None:
    found = version("rq")
    assert found == TESTED_RQ_VERSION, (
        f"RQ {found} has not been tried: workers/worker.py overrides methods of its worker, job, queue and registries. "
        f"Compare them with {TESTED_RQ_VERSION}'s, run `pytest tests/workers` and `pytest -m storm tests/workers`, "
        "then change TESTED_RQ_VERSION and pyproject.toml."
    )


def test_the_project_requires_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (each for each in project["dependencies"] if each.split("=")[0].rstrip("<>~!") == "rq")
    assert wanted == f"rq=={TESTED_RQ_VERSION}"
