"""How the web server answers others while it is abused: python -m tests.benchmarks.abuse [threaded] [SECONDS] [KIND …]

The product on embedded servers, with the demo's photos in one gallery. During each kind of abuse (see `tests.abuse`),
`/healthz` and the gallery are asked every 50 ms, each time over a new connection and with 10 s for the answer. Idle
connections and all else come from this machine and share its cores. With `threaded`, the product runs behind
gunicorn's threaded worker with 2 × 16 threads, as it did until November 2026.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median, quantiles
from subprocess import DEVNULL

from flask import Flask

from portal.accounts import access
from portal.db import db
from portal.demo.photos import PHOTOS
from portal.embedded.servers import http_answers
from tests import factories
from tests.abuse import KINDS, abused
from tests.benchmarks.delivery import installation, product
from tests.processes import ROOT, started, until
from tests.servers import free_port

SECONDS, SETTLE_S, EVERY_S, WITHIN_S = 15.0, 3.0, 0.05, 10.0
GOAL_S = 0.2


class Probe(threading.Thread):
    """Ask for a path again and again; `times` are the seconds that each answer took."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.port, self.path, self.headers = port, path, headers
        self.times: list[float] = []
        self.failures = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(EVERY_S):
            began = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
            try:
                connection.request("GET", self.path, headers=self.headers)
                response = connection.getresponse()
                self.failures += response.status != 200
                response.read()
            except (OSError, HTTPException):
                self.failures += 1
            finally:
                connection.close()
            self.times.append(time.perf_counter() - began)

    def figures(self) -> str:
        p99 = quantiles(self.times, n=100)[98] if len(self.times) > 1 else self.times[0]
        failed = f"{self.failures} failed" if self.failures else ""
        return f"{len(self.times):6}{median(self.times):9.3f}{p99:8.3f}{max(self.times):8.3f} {failed:11}"


@contextmanager
def threaded(port: int) -> Iterator[int]:
    command = (
        f"-m gunicorn --bind 127.0.0.1:{port} --worker-class gthread --workers 2 --threads 16 --keep-alive 5 "
        "--timeout 60 --preload --no-control-socket --log-level critical app:create_app()"
    )
    with started(*command.split(), stdout=DEVNULL) as process:
        until(lambda: http_answers(f"http://127.0.0.1:{port}/healthz"))
        yield process.pid


def signed_in(app: Flask, port: int) -> tuple[str, dict[str, str]]:
    """Make a gallery and sign in; return its path, and the headers of a browser."""
    person = factories.person(app, "Alma Stays", "alice@alma.example", admin=True)
    home = factories.home_of(person.workspace)
    for photo in PHOTOS:
        factories.photo_in(home, photo.read(), name=photo.file_name, type=photo.type)
    path, token = f"/properties/{home.uuid}/photos", access.create_sign_in_link(person.user)
    db.session.rollback()
    client = app.test_client()
    client.post("/sign-in/link", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    assert client.get(path).status_code == 200
    cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in client._cookies.values())
    return path, {"Cookie": cookies, "Accept": "text/html"}


def measure(
    name: str, kinds: tuple[str, ...], port: int, gallery: str, headers: dict[str, str], seconds: float
) -> bool:
    with abused(port, *kinds):
        time.sleep(SETTLE_S)
        probes = [Probe(port, "/healthz", {}), Probe(port, gallery, headers)]
        for probe in probes:
            probe.start()
        time.sleep(seconds)
        for probe in probes:
            probe.over.set()
        for probe in probes:
            probe.join()
    print(f"{name:15}{probes[0].figures()}  {probes[1].figures()}", flush=True)
    return max(probes[0].times) <= GOAL_S and not probes[0].failures


def main(words: list[str]) -> None:
    seconds = next((float(word) for word in words if word[0].isdigit()), SECONDS)
    serve = threaded if "threaded" in words else product
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frontage-")))
        env = {"DATA_DIR": str(directory), "SECRET_KEY": "only for measuring, only for measuring"}
        app = stack.enter_context(installation(env))
        port = free_port()
        gallery, headers = signed_in(app, port)
        db.engine.dispose()
        stack.enter_context(serve(port))
        print(f"{'':15}/healthz: n  p50 s    p99     max             gallery: n  p50 s    p99     max")
        kinds = {"nothing": (), **{kind: (kind,) for kind in KINDS}, "all at once": tuple(KINDS)}
        kinds = {name: abuse for name, abuse in kinds.items() if name in words} or kinds
        met = [measure(name, abuse, port, gallery, headers, seconds) for name, abuse in kinds.items()]
        print(f"/healthz within {GOAL_S} s: {sum(met)} of {len(met)}")


if __name__ == "__main__":
    assert Path.cwd() == ROOT, "run it from the repository's root"
    main(sys.argv[1:])
