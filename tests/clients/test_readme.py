"""The README's commands as a newcomer types them: in a fresh clone, with a fresh virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.conftest import scratch
from tests.processes import ROOT, until
from tests.servers import free_port

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A clone of what is committed, without anything else in this checkout."""
    with tempfile.TemporaryDirectory(prefix="clone-") as folder:
        command = ["git", "clone", "--quiet", str(ROOT), folder]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        yield Path(folder)


def command(which: str) -> str:
    """The command below the README's comment of this name."""
    found = re.search(rf"<!-- {which} command -->\n```sh\n(.+?)\n```", (ROOT / "README.md").read_text())
    assert found
    return found[1]


@contextmanager
def typed(line: str, clone: Path, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Run a line in the clone; yields its output so far, and ends all of its processes afterwards."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    with tempfile.NamedTemporaryFile(prefix="said-") as said:
        output = Path(said.name)
        shell = subprocess.Popen(
            ["bash", "-c", line],
            cwd=clone,
            env=ours | {"PYTHONUNBUFFERED": "1"} | env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield shell, lambda: output.read_text(errors="replace")
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(shell.pid, number)
                    shell.wait(60)


def test_the_run_command_opens_a_gallery_with_the_reader_signed_in(clone: Path) -> None:
    port, directory = free_port(), scratch("readme-")
    try:
        with typed(command("run"), clone, PORT=str(port), DATA_DIR=str(directory)) as (shell, said):
            until(lambda: "Sign in (link works once)" in said() or shell.poll() is not None, within_s=400)
            link = re.search(r"Sign in \(link works once\) +(\S+)", said())
            assert link, said()[-5000:]
            with requests.Session() as browser:
                browser.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
                token = link[1].rpartition("token=")[2]
                page = browser.post(f"http://localhost:{port}/sign-in/link", data={"token": token}, timeout=30)
                assert (page.status_code, "Heron House" in page.text) == (200, True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_the_test_command_finds_its_tests(clone: Path) -> None:
    """CI runs the whole suite; here it only has to be collected."""
    pytest_call = command("test").replace(".venv/bin/pytest", ".venv/bin/pytest --collect-only -n 0")
    with typed(pytest_call, clone) as (shell, said):
        assert shell.wait(500) == 0, said()[-5000:]
        assert len(said().splitlines()) > 1000
