"""How fast the pages feel: python -m tests.benchmarks.pages [NAME…]

The whole installation, as `python app.py` starts it: gunicorn, workers, servers, photos that went through all of
them. The reader has a phone, 390 px wide at two device pixels, on slow 4G (150 ms, 1.6 Mbit/s), with a CPU four
times slower than this one. Each run begins with an empty cache; figures are medians of five, after one run that has
the renditions made. Bytes are those on the wire, compressed and with headers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from sqlalchemy import func, select, update

from app import create_app
from portal import config
from portal.accounts import access
from portal.accounts.models import User, Workspace
from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.demo.photos import PHOTOS
from portal.embedded.servers import http_answers
from portal.images import properties, uploads
from portal.images.models import PENDING, Image
from portal.images.uploads import AnnouncedFile, UploadedFile
from portal.work import work
from tests import factories
from tests.browser.conftest import QUIET

ROOT = Path(__file__).parents[2]
RUNS = 5
SLOW_4G = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1_600_000 / 8,
    "uploadThroughput": 750_000 / 8,
    "connectionType": "cellular4g",
}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
BUDGETS = {"LCP s": 1.8, "CLS": 0.01, "INP ms": 200, "TBT ms": 200}
TYPES = {"Document": "HTML", "Script": "JS", "Stylesheet": "CSS", "Font": "font", "Image": "images"}
WATCH = """
window.seen = { lcp: 0, cls: 0, fcp: 0, tasks: [], events: {} };
const watch = (type, note, more) =>
  new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type, buffered: true, ...more });
watch('largest-contentful-paint', (entry) => (seen.lcp = entry.startTime));
watch('layout-shift', (entry) => entry.hadRecentInput || (seen.cls += entry.value));
watch('paint', (entry) => entry.name === 'first-contentful-paint' && (seen.fcp = entry.startTime));
watch('longtask', (entry) => seen.tasks.push([entry.startTime, entry.duration]));
watch('event', ({ interactionId: id, duration, name }) => {
  if (id && duration > (seen.events[id] ?? [0])[0]) seen.events[id] = [duration, name];
}, { durationThreshold: 16 });
"""


@contextmanager
def installation() -> Iterator[str]:
    """`python app.py` with an empty data folder; yields its address, with its settings in this process's
    environment."""
    data = Path(tempfile.mkdtemp(prefix="frontage-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"DATA_DIR": str(data), "PORT": str(port), "NO_PROXY": "localhost,127.0.0.1"}
    url = f"http://localhost:{port}"
    server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait(lambda: http_answers(f"{url}/readyz"))
        with create_app(config.from_environment()).app_context():
            yield url
    finally:
        server.terminate()
        try:
            server.wait(60)
        finally:
            server.kill()
        shutil.rmtree(data, ignore_errors=True)


def wait(holds: Callable[[], bool], most_s: float = 600) -> None:
    until = time.monotonic() + most_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("the installation did not get ready")
        time.sleep(0.5)


def furnish() -> dict[str, str]:
    """Galleries of 24 and of 312 photos, each through the pipeline; returns the addresses to measure."""
    PLANS["pro"] = Plan("pro", "Pro", images_per_property=1000, imports_per_month=0)
    with work():
        db.session.execute(update(Workspace).values(plan_name="pro"))
    workspace = db.session.scalars(select(Workspace)).one()
    photos = [(photo.file_name, photo.type, photo.read(), photo.alt_text) for photo in PHOTOS]
    addresses = {}
    for size in (24, 312):
        home = properties.create(workspace, {"name": f"House of {size}", "address": "Lake Road 3", "sleeps": 6})
        for number in range(size):
            name, type, data, words = photos[number % len(photos)]
            (upload,) = uploads.presign(home, [AnnouncedFile(name, type, len(data))])
            factories.put(uploads.url_of(upload), data, type).raise_for_status()
            said = f"{words}, {number}" if number % 9 else None
            uploads.confirm(home, [UploadedFile(upload.key, type, len(data), said)], added_by="Demo Admin")
        addresses[f"gallery {size}"] = f"/properties/{home.uuid}/photos"
    wait(lambda: not waiting())
    return addresses | {"jobs": "/jobs", "settings": "/settings/plan-and-keys"}


def waiting() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count(Image.id)).where(Image.variants == PENDING)) or 0


class Reader:
    """A signed-in person with a phone."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser, self.url = browser, url
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.goto(f"/sign-in/link?token={access.create_sign_in_link(db.session.scalars(select(User)).one())}")
        page.locator("main form button").click()
        page.wait_for_url("**/properties")
        self.state = context.storage_state()
        context.close()

    def visit(self, path: str) -> dict[str, float]:
        """Load a page with an empty cache, use it, and return the measurements."""
        context = self.browser.new_context(base_url=self.url, storage_state=self.state, **PHONE)
        page = context.new_page()
        page.add_init_script(WATCH)
        sent = Wire(context.new_cdp_session(page))
        page.goto(path, wait_until="load")
        page.wait_for_timeout(2500)
        loaded, bytes_sent = page.evaluate("seen"), sent.stop()
        use(page)
        page.wait_for_timeout(500)
        events = page.evaluate("Object.values(seen.events)")
        context.close()
        slowest = max(events, default=[0, ""])
        if os.environ.get("VERBOSE"):
            print(json.dumps({"path": path, "slowest": sorted(events)[-3:], "tasks": loaded["tasks"]}))
        blocked = sum(max(0, took - 50) for began, took in loaded["tasks"] if began + took > loaded["fcp"])
        figures = {"LCP s": loaded["lcp"] / 1000, "CLS": loaded["cls"], "INP ms": slowest[0], "TBT ms": blocked}
        return figures | bytes_sent


class Wire:
    """Throttle line and CPU, and count what is sent."""

    def __init__(self, session: Any) -> None:
        self.types: dict[str, str] = {}
        self.bytes: Counter[str] = Counter()
        self.counts = True
        session.on("Network.responseReceived", self.received)
        session.on("Network.loadingFinished", self.finished)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", SLOW_4G)
        session.send("Emulation.setCPUThrottlingRate", {"rate": 4})

    def received(self, event: dict[str, Any]) -> None:
        if not event["response"]["url"].startswith(("data:", "blob:")):
            self.types[event["requestId"]] = TYPES.get(event["type"], "other")

    def finished(self, event: dict[str, Any]) -> None:
        if self.counts and event["requestId"] in self.types:
            self.bytes[self.types[event["requestId"]]] += event["encodedDataLength"]

    def stop(self) -> dict[str, float]:
        self.counts = False
        kilobytes = {f"{name} KB": self.bytes[name] / 1024 for name in TYPES.values()}
        return {"requests": len(self.types), **kilobytes, "all KB": self.bytes.total() / 1024}


def use(page: Any) -> None:
    """Use a page by finger and by keyboard; each action is one interaction or more."""
    page.locator(".avatar").tap()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    if page.locator("#photos .tile").count():
        edit(page)
    elif page.locator("#find").count():
        page.locator("#find").tap()
        page.keyboard.type("house", delay=120)
    page.wait_for_timeout(500)


def edit(page: Any) -> None:
    """Walk, select, move, open the menu, open a photo and type."""
    page.locator("#photos a.shot").nth(1).focus()
    for key in ("ArrowDown", "ArrowRight", "Space", "Shift+ArrowDown", "Escape", "m", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
        page.wait_for_timeout(250)
    page.locator("#photos .pick").nth(2).tap()
    page.keyboard.press("Escape")
    page.locator("#photos .more").nth(2).tap()
    page.keyboard.press("Escape")
    page.locator("#photos a.shot").nth(2).tap()
    page.locator("#photo textarea").wait_for()
    page.locator("#photo textarea").tap()
    page.keyboard.type("A kitchen", delay=120)
    page.keyboard.press("Escape")


def say(name: str, runs: list[dict[str, float]]) -> None:
    figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print(f"\n{name}")
    for key, value in figures.items():
        budget = BUDGETS.get(key)
        spread = f"{min(run[key] for run in runs):.4g} to {max(run[key] for run in runs):.4g}"
        verdict = "" if budget is None else f"  of {budget:g}" + ("" if value <= budget else ", OVER")
        print(f"  {key:10}{value:10.4g}{verdict:14}   {spread}", flush=True)


def main(wanted: set[str]) -> None:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with installation() as url, sync_playwright() as playwright:
        addresses = furnish()
        reader = Reader(playwright.chromium.launch(executable_path=path, args=list(QUIET)), url)
        for name, address in addresses.items():
            if not wanted or name in wanted:
                say(name, [reader.visit(address) for _ in range(RUNS + 1)][1:])


if __name__ == "__main__":
    main(set(sys.argv[1:]))
