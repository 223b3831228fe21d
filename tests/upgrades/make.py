"""Make the data folder that a release leaves behind: `python -m tests.upgrades.make FILE.tar.xz`.

Run it on a checkout of the release. It uses only names that are stable across releases: `python app.py`, the command
line, the API. When it stops, a job of every kind waits in its queue, as after a power cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from portal.demo.pms.hostaway import FakeHostaway
from tests.factories import jpeg
from tests.upgrades.world import ABOUT, HOOKS_PORT, PMS_PORT

ROOT = Path(__file__).parents[2]
PORT = 28490
API = f"http://127.0.0.1:{PORT}/api/v1"
WITHIN_S = 60


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="up-") as name:
        directory = Path(name) / "data"
        directory.mkdir(mode=0o700)
        about = {**_fill(directory), "left_at": time.time()}
        for leftover in ("lock", "valkey/valkey.sock"):
            (directory / leftover).unlink(missing_ok=True)
        (directory / ABOUT).write_text(json.dumps(about, indent=1))
        with tarfile.open(target, "w:xz") as archive:
            archive.add(directory, "data", filter=_nobodys)
    print(f"{target}: {target.stat().st_size:,} bytes")


def _fill(directory: Path) -> dict[str, Any]:
    """Run the product on an empty folder, use it, and cut it off; return what the test needs to know."""
    env = os.environ | {
        "DATA_DIR": str(directory),
        "PORT": str(PORT),
        "ALLOWED_PRIVATE_NETS": "127.0.0.0/8",
        "SYNC_EVERY_MIN": "10080",
        "PIXEL_WORKERS": "1",
        "NETWORK_WORKERS": "1",
    }

    def flask(*arguments: str) -> str:
        command = [sys.executable, "-m", "flask", "--app", "app", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=WITHIN_S
        ).stdout.strip()

    flask("db", "upgrade")
    keys = []
    for workspace in ("Alma Stays", "Corvid Homes"):
        flask("create-workspace", workspace, "--plan", "pro")
        keys.append(flask("create-api-key", "--workspace", workspace, "--admin"))
    with FakeHostaway(listings=2, pictures=2, port=PMS_PORT) as pms:
        portal = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env)
        try:
            _until(_answers)
            return _use(portal, directory, pms, *map(_Client, keys)) | {"api_key": keys[0]}
        finally:
            portal.send_signal(signal.SIGCONT)
            portal.terminate()
            try:
                portal.wait(WITHIN_S)
            finally:
                portal.kill()


def _use(
    portal: subprocess.Popen[bytes], directory: Path, pms: FakeHostaway, alma: _Client, corvid: _Client
) -> dict[str, Any]:
    home = alma.call("POST", "/properties", {"name": "Alder Cottage", "sleeps": 4})["data"]["id"]
    images = f"/properties/{home}/images"
    photos = [alma.upload(images, jpeg(640 + n, 480), f"Photo {n}") for n in range(3)]
    _until(lambda: all(requests.get(photo["url"], headers={"Accept": "image/webp"}, timeout=30).ok for photo in photos))
    pms.fail_next(2, 404, below="/pictures/2/2.jpg")
    accounts = [client.connect(pms) for client in (alma, corvid)]
    _until(lambda: all(client.has_copies() for client in (alma, corvid)))
    alma.call("POST", "/webhooks", {"url": f"http://127.0.0.1:{HOOKS_PORT}/hook", "events": ["property.updated"]})

    _stop_workers(portal)
    photos.append(alma.upload(images, jpeg(700, 500), "Waits for its variants"))
    headers = {"Accept": "image/avif"}
    requests.get(photos[0]["url"], {"w": 320}, headers=headers, timeout=30).raise_for_status()
    job = alma.call("POST", f"{images}/import", {"urls": [f"{pms.url}/pictures/1/1.jpg"]})["data"]["jobId"]
    alma.call("POST", f"/integration-definition/hostaway/accounts/{accounts[0]}/sync")
    listing = next(each for each in alma.listings() if each["name"].endswith(" 2"))
    (failed,) = (image for image in alma.images_of(listing) if image["failureReason"])
    alma.call("POST", f"/listings/{listing['id']}/images/{failed['id']}/retry")
    corvid.call("DELETE", f"/integration-definition/hostaway/accounts/{accounts[1]}")

    redis = Redis.from_url(json.loads((directory / "embedded.json").read_text())["redis_url"])
    for queue, function in (("schedule", "workers.sweep.sweep"), ("network", "workers.sweep.tidy")):
        name = function.rpartition(".")[2]
        Queue(queue, connection=redis, serializer=JSONSerializer).enqueue_call(function, job_id=name)
    waiting = {key.decode(): sorted(map(bytes.decode, redis.lrange(key, 0, -1))) for key in redis.keys("rq:queue:*")}
    return {"property": home, "photos": [photo["id"] for photo in photos], "import": job, "waiting": waiting}


def _stop_workers(portal: subprocess.Popen[bytes]) -> None:
    """Kill the workers, and keep their supervisor from starting others."""
    portal.send_signal(signal.SIGSTOP)
    for child in psutil.Process(portal.pid).children(recursive=True):
        if "workers.pool" in " ".join(child.cmdline()):
            child.kill()


class _Client:
    """A workspace's API key in use."""

    def __init__(self, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, API + path, json=body, headers=self._headers, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def upload(self, images: str, data: bytes, alt_text: str) -> Any:
        said = {"contentType": "image/jpeg", "sizeBytes": len(data)}
        presigned = self.call("POST", f"{images}/presign", {"fileName": "photo.jpg", **said})["data"]
        headers = {"Content-Type": "image/jpeg"}
        requests.put(presigned["uploadUrl"], data, headers=headers, timeout=30).raise_for_status()
        body = {"r2Key": presigned["r2Key"], "altText": alt_text, **said}
        return self.call("POST", f"{images}/confirm", body)["data"]

    def connect(self, pms: FakeHostaway) -> str:
        """Connect the PMS with its Image CDN on; return the account's id."""
        self.call("PATCH", "/integration-definition/hostaway/images-cdn", {"enableImagesCDN": True})
        body = {"credentials": pms.credentials}
        account: str = self.call("POST", "/integration-definition/hostaway/accounts", body)["id"]
        return account

    def listings(self) -> list[Any]:
        found: list[Any] = self.call("GET", "/listings")["listings"]
        return found

    def images_of(self, listing: Any) -> list[Any]:
        found: list[Any] = self.call("GET", f"/listings/{listing['id']}/images")
        return found

    def has_copies(self) -> bool:
        images = [image for listing in self.listings() for image in self.images_of(listing)]
        return len(images) == 6 and all(image["cdnURL"] or image["failureReason"] for image in images)


def _answers() -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{PORT}/readyz", timeout=5).ok
    except requests.ConnectionError:
        return False


def _until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uname = member.gname = ""
    member.uid = member.gid = 0
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]))
