"""The wheel, installed alone and started in an empty folder, has every page and what the pages load."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.clients.test_readme import clone, typed
from tests.conftest import scratch
from tests.processes import until
from tests.servers import free_port

__all__ = ["clone"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]
LEAVING = ("/sign-out", "/rq")  # RQ's dashboard has pages of its own
MOST_PAGES = 200


@pytest.fixture
def installed(clone: Path, tmp_path: Path) -> Iterator[Path]:
    """A virtual environment with the wheel and what it requires, and nothing of the checkout."""
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(clone)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = wheels.glob("frontage-*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    install = [str(tmp_path / "venv" / "bin" / "pip"), "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, timeout=400)
    yield tmp_path / "venv" / "bin"
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


def test_every_page_of_the_installed_wheel_answers(installed: Path, tmp_path: Path) -> None:
    port, directory, empty = free_port(), scratch("wheel-"), tmp_path / "empty"
    empty.mkdir()
    try:
        with typed(f"{installed}/python -m app", empty, PORT=str(port), DATA_DIR=str(directory)) as (shell, said):
            until(lambda: "Sign in (link works once)" in said() or shell.poll() is not None, within_s=120)
            link = re.search(r"token=(\S+)", said())
            assert link, said()[-5000:]
            with requests.Session() as browser:
                browser.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
                home = f"http://localhost:{port}"
                browser.post(f"{home}/sign-in/link", data={"token": link[1]}, timeout=30)
                seen = crawl(browser, home)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert {path: status for path, status in seen.items() if status != 200} == {}
    for start in ("/properties/", "/listings", "/jobs", "/settings", "/guides/", "/api/docs", "/static/"):
        assert any(path.startswith(start) for path in seen), (start, sorted(seen))


def crawl(browser: requests.Session, home: str) -> dict[str, int]:
    """Follow the links of all pages, also to styles, scripts and pictures; return the status of each path."""
    seen: dict[str, int] = {}
    due = ["/"]
    while due and len(seen) < MOST_PAGES:
        path = due.pop()
        if path in seen or path.startswith(LEAVING):
            continue
        answer = browser.get(urljoin(home, path), timeout=30)
        seen[path] = answer.status_code
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        for link in re.findall(r'(?:href|src)="([^"#]+)"', answer.text):
            target = urlsplit(urljoin(answer.url, link))
            if target.netloc == urlsplit(home).netloc:
                due.append(target.path)
    return seen
