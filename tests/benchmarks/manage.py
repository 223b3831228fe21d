"""One PUT /api/properties/:id with many photos: memory and time, behind gunicorn as in production.

    python -m tests.benchmarks.manage [PHOTO …]

Memory is the resident set of the web processes, sampled while a PUT of 1, 5 and 20 photos runs; their pixel children
are counted separately. Time is that of the PUT compared with the pixel work alone: the same photos through the same
renderer with the same malloc, as many in parallel as there are cores, the sum of their times divided by the cores.
The two alternate, so that other load on the machine affects both; the figure is the median of the rounds' ratios. A
single photo has one core to use, so its ratio starts at the number of cores.

The client and the embedded S3 share the same cores. In production the S3 is another machine, so there are two
ratios: of the PUT as it was here, and of the PUT minus the S3's share of the cores."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import requests
from flask_migrate import upgrade

from app import create_app
from portal.accounts import access
from portal.config import from_environment
from portal.embedded import Server, start_seaweedfs, start_valkey
from portal.infra import storage
from portal.infra.processes import tied_to_us
from portal.pixels.inspect import inspect
from portal.pixels.render import render
from portal.pixels.sandbox import LARGE_PAGES
from tests import factories
from tests.benchmarks.pixels import CORPUS

COUNTS = (1, 5, 20)
GOAL = 1.3  # with twenty photos
ROUNDS = 3
CORES = os.cpu_count() or 1
PORT = 8791
HOST = f"http://127.0.0.1:{PORT}"
ROOT = Path(__file__).parents[2]
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Peak:
    """The largest resident sets seen, in bytes: of one web process, and of all pixel children together."""

    web: int = 0
    children: int = 0


@dataclass
class Round:
    """One PUT, and the pixel work alone just before it."""

    peak: Peak
    took: float
    alone: float
    pixels_cpu: float
    web_cpu: float
    s3_cpu: float
    client_cpu: float

    @property
    def here(self) -> float:
        return self.took / self.alone

    @property
    def s3_elsewhere(self) -> float:
        return (self.took - self.s3_cpu / CORES) / self.alone


class Sampler(threading.Thread):
    """Sample gunicorn's processes every 50 ms until stopped; every 10 ms took a tenth of a core."""

    def __init__(self, master: int) -> None:
        super().__init__(daemon=True)
        self.master, self.peak, self.over = master, Peak(), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.05):
            web = children_of(self.master)
            self.peak.web = max([self.peak.web, *map(resident, web)])
            pixels = [
                child for worker in web for forkserver in children_of(worker) for child in children_of(forkserver)
            ]
            self.peak.children = max(self.peak.children, sum(map(resident, pixels)))

    def stop(self) -> Peak:
        self.over.set()
        self.join()
        return self.peak


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        listed = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for children in listed for child in children]
    return []


def resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def cpu_s(pid: int) -> float:
    """User and system seconds of a process, of those it has waited for, and of its children."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
        return own + sum(map(cpu_s, children_of(pid)))
    return 0


def made(path: str) -> tuple[float, float]:
    """How long the pixels of one photo take: wall clock and CPU."""
    data = Path(path).read_bytes()
    began, used = time.perf_counter(), time.process_time()
    render(data, inspect(data))
    return time.perf_counter() - began, time.process_time() - used


class Site:
    """The product behind gunicorn, and an API key."""

    def __init__(self, directory: Path, known: dict[str, str], s3: Server) -> None:
        self.s3 = s3
        self.env = os.environ | {
            "DATA_DIR": str(directory),
            "PORT": str(PORT),
            "SECRET_KEY": "only for measuring, only for measuring",
            "REDIS_URL": known["redis_url"],
            "S3_ENDPOINT_URL": known["s3_endpoint_url"],
            "AWS_ACCESS_KEY_ID": known["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": known["s3_secret_key"],
        }
        os.environ.update(self.env)
        self.app = create_app(from_environment())
        with self.app.app_context():
            upgrade()
            storage.uploads.prepare()
            storage.cdn.prepare()
            workspace = access.create_workspace("Bench", "pro")
            self.key = access.create_api_key(workspace, "Bench", admin=True).secret
        command = [sys.executable, "-m", "gunicorn", "--config", "python:portal.server"]
        self.gunicorn = subprocess.Popen(tied_to_us(command), cwd=ROOT, env=self.env)
        while not answers():
            time.sleep(0.1)

    def put(self, paths: list[str]) -> tuple[float, Peak]:
        """PUT the photos to a new property; return seconds and memory."""
        key = {"Authorization": f"Bearer {self.key}"}
        home = requests.post(f"{HOST}/api/v1/properties", json={"name": "Bench"}, headers=key, timeout=10).json()[
            "data"
        ]
        url = f"{HOST}/api/properties/{home['numericId']}"
        files: Any = [("images", (Path(path).name, Path(path).read_bytes())) for path in paths]
        asked = requests.Request("PUT", url, files=files, headers=key).prepare()
        sampler = Sampler(self.gunicorn.pid)
        sampler.start()
        began = time.perf_counter()
        response = requests.Session().send(asked, timeout=600)
        took = time.perf_counter() - began
        peak = sampler.stop()
        assert response.status_code == 200, response.text
        assert len(response.json()["data"]["images"]) == len(paths)
        return took, peak

    def cpu_s(self) -> tuple[float, float, float]:
        """CPU seconds of the web processes, the S3 and this process (the client) so far."""
        return cpu_s(self.gunicorn.pid), cpu_s(self.s3.process.pid), time.process_time()

    def close(self) -> None:
        self.gunicorn.terminate()
        self.gunicorn.wait(20)


def answers() -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"{HOST}/healthz", timeout=5).ok
    return False


def measure(site: Site, photos: list[str]) -> None:
    idle = max(map(resident, children_of(site.gunicorn.pid)))
    site.put(photos[:1])
    print(f"web process, idle: {idle / 2**20:.0f} MB; goal of both ratios with {max(COUNTS)} photos: {GOAL}")
    print("CPU seconds are of the pixels alone, the web processes with their children, the S3, the client")
    print("photos  web MB  children MB  seconds  pixels alone  ratio  S3 elsewhere  CPU: pixels   web    S3  client")
    os.environ.update(LARGE_PAGES)
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        list(pool.map(made, photos[:1] * CORES * 2))
        for count in COUNTS:
            show(count, [round_of(site, pool, photos[:count]) for _ in range(ROUNDS)])
    print(f"the S3 holds {resident(site.s3.process.pid) / 2**20:.0f} MB")


def round_of(site: Site, pool: ProcessPoolExecutor, photos: list[str]) -> Round:
    seconds, pixels_cpu = (sum(each) for each in zip(*pool.map(made, photos), strict=True))
    before = site.cpu_s()
    took, peak = site.put(photos)
    cpu = (after - before for before, after in zip(before, site.cpu_s(), strict=True))
    return Round(peak, took, seconds / CORES, pixels_cpu, *cpu)


def show(count: int, rounds: list[Round]) -> None:
    web, children = (max(getattr(each.peak, name) for each in rounds) / 2**20 for name in ("web", "children"))
    names = ("took", "alone", "here", "s3_elsewhere", "pixels_cpu", "web_cpu", "s3_cpu", "client_cpu")
    took, alone, here, elsewhere, *cpu = (statistics.median(getattr(each, name) for each in rounds) for name in names)
    print(f"{count:6}{web:8.0f}{children:13.0f}{took:9.2f}{alone:14.2f}{here:7.2f}{elsewhere:14.2f}", end="")
    print(f"{cpu[0]:13.2f}{cpu[1]:6.2f}{cpu[2]:6.2f}{cpu[3]:8.2f}")


def main(paths: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="frontage-") as name:
        directory = Path(name)
        photo = CORPUS / "photos" / "j09_iphone_12mp_or6_gps_p3.jpg"
        if not paths and not photo.exists():
            photo = directory / "drawn.jpg"
            photo.write_bytes(factories.jpeg(4032, 3024))
        paths = paths or [str(photo)]
        valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
        site = Site(directory, valkey.settings | s3.settings, s3)
        try:
            measure(site, (paths * max(COUNTS))[: max(COUNTS)])
        finally:
            site.close()
            valkey.stop()
            s3.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
