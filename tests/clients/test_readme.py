"""The README's commands as a newcomer types them: in a fresh clone, with a fresh virtual environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import scratch
from tests.processes import ROOT, until
from tests.servers import free_port

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """What is committed, and nothing that this checkout has beside it."""
    with tempfile.TemporaryDirectory(prefix="clone-") as folder:
        command = ["git", "clone", "--quiet", str(ROOT), folder]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        yield Path(folder)


def command(which: str) -> str:
    """The command below the README's comment of this name."""
    found = re.search(rf"<!-- {which} command -->\n```sh\n(.+?)\n```", (ROOT / "README.md").read_text())
    assert found
    return found[1]


def test_the_run_command_ends_in_a_gallery_that_one_is_signed_in_to(clone: Path) -> None:
    port, directory = free_port(), scratch("readme-")
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    env |= {"PORT": str(port), "DATA_DIR": str(directory), "PYTHONUNBUFFERED": "1"}
    log = directory / "log"
    with log.open("w") as output:
        shell = subprocess.Popen(
            ["bash", "-c", command("run")], cwd=clone, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: "Sign in, once, at" in log.read_text() or shell.poll() is not None, within_s=400)
        link = re.search(r"Sign in, once, at +(\S+)", log.read_text())
        assert link, log.read_text()[-5000:]
        with requests.Session() as browser:
            browser.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
            token = link[1].rpartition("token=")[2]
            page = browser.post(f"http://localhost:{port}/sign-in/link", data={"token": token}, timeout=30)
            assert (page.status_code, "Heron House" in page.text) == (200, True)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        try:
            shell.wait(60)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)


def test_the_test_command_finds_its_tests(clone: Path) -> None:
    """All of it is what CI runs; here it only has to collect what is there."""
    pytest_call = command("test").replace(".venv/bin/pytest", ".venv/bin/pytest --collect-only -n 0")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    done = subprocess.run(["bash", "-c", pytest_call], cwd=clone, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(done.stdout.splitlines()) > 1000
