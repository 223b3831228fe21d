"""An installation on a small disk of its own, in a mount namespace: `python -m tests.small_disk FOLDER`.

Resizing the tmpfs fills it and frees it, without writing anything. Exits with 1, and says why, if anything is amiss.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests import factories
from tests.installation import Installation, installation
from tests.processes import until

NAMESPACE = ["unshare", "--map-root-user", "--mount", "--fork", "--kill-child"]
SIZE_BYTES, MIB = 4 * 1024**3, 1024**2
RECOVERY_S = 120  # SeaweedFS looks once a minute


class World:
    """The installation, its disk, and a client of its API."""

    def __init__(self, folder: Path, portal: Installation) -> None:
        self.folder, self.portal = folder, portal
        (key,) = re.findall(r"API key \(shown once\) +(\S+)", "\n".join(portal.said))
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"
        self.home = self.ask("POST", "/properties", json={"name": "Barn"}).json()["data"]["id"]

    def ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, f"{self.portal.url}/api/v1{path}", timeout=60, **kwargs)

    def leave(self, free_bytes: int) -> None:
        """Resize the disk so that this much is left of it."""
        found = os.statvfs(self.folder)
        self.resize((found.f_blocks - found.f_bavail) * found.f_frsize + free_bytes)

    def resize(self, size_bytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size_bytes}", str(self.folder)], check=True)

    def presign(self, data: bytes) -> requests.Response:
        file = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": len(data)}
        return self.ask("POST", f"/properties/{self.home}/images/presign", json=file)

    def confirm(self, granted: Any, data: bytes) -> requests.Response:
        factories.put(granted["uploadUrl"], data, "image/jpeg")
        said = {"r2Key": granted["r2Key"], "contentType": "image/jpeg", "sizeBytes": len(data)}
        return self.ask("POST", f"/properties/{self.home}/images/confirm", json=said)

    def images(self) -> list[Any]:
        found: list[Any] = self.ask("GET", f"/properties/{self.home}/images").json()["data"]
        return found

    def are_shown(self) -> bool:
        return all(requests.get(image["url"], timeout=60).ok for image in self.images())


def main(folder: Path) -> None:
    """Fill the disk in two steps, and free it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "none", str(folder)], check=True)
    with installation(folder) as portal:
        until(portal.is_ready)
        try:
            world, photo = World(folder, portal), factories.jpeg()
            granted = [world.presign(photo).json()["data"] for _ in range(6)]
            assert all(world.confirm(each, photo).status_code == 201 for each in granted[:3])
            until(world.are_shown)
            on_a_nearly_full_disk(world, photo, granted[3])
            on_a_full_disk(world, photo, granted[4])
            with_space_again(world, photo, granted[3:])
        except BaseException:
            print("\n".join(line[:200] for line in portal.said[-40:]))
            raise


def on_a_nearly_full_disk(world: World, photo: bytes, granted: Any) -> None:
    """Photos are refused, everything else works."""
    world.leave(100 * MIB)
    answer = requests.get(f"{world.portal.url}/readyz", timeout=10)
    assert (answer.status_code, answer.json()["parts"]["disk"]) == (503, "full"), answer.text
    assert answer.json()["disk_free_mb"] <= 100
    for refused in (world.presign(photo), world.confirm(granted, photo)):
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "disk_full"), refused.text
    assert len(world.images()) == 3 and world.are_shown()
    described = world.ask("PATCH", f"/properties/{world.home}", json={"name": "Elm"})
    assert described.status_code == 200, described.text


def on_a_full_disk(world: World, photo: bytes, granted: Any) -> None:
    """Rows are refused too. The index of SeaweedFS, which deletions write to, gets stuck."""
    world.leave(16 * 1024)
    fill_the_index(world)
    world.leave(0)
    answers = [world.ask("POST", "/properties", json={"name": "x" * 150}) for _ in range(60)]
    refused = [answer for answer in answers if answer.status_code != 201]
    codes = {(answer.status_code, answer.json()["error"]["code"]) for answer in refused}
    assert codes == {(503, "disk_full")}, codes
    assert len(world.images()) == 3 and world.are_shown()
    assert world.confirm(granted, photo).status_code in (422, 503), "not even the PUT succeeds"


def fill_the_index(world: World) -> None:
    """Write to the bucket until its index of names reports that the disk is full."""
    keys = json.loads((world.folder / "embedded.json").read_text())
    bucket = boto3.client(
        "s3",
        endpoint_url=keys["s3_endpoint_url"],
        aws_access_key_id=keys["s3_access_key"],
        aws_secret_access_key=keys["s3_secret_key"],
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required", read_timeout=2),
    )
    for n in range(1000):
        if world.portal.has_said("filerldb"):
            return
        with suppress(ClientError, BotoCoreError):
            bucket.put_object(Bucket="frontage-uploads", Key=f"stray/{n}", Body=b"")  # a name, but no bytes
    raise AssertionError("its index still takes writes")


def with_space_again(world: World, photo: bytes, granted: list[Any]) -> None:
    """Everything goes on by itself, with the uploads that were refused."""
    world.resize(SIZE_BYTES)
    until(lambda: world.portal.has_said("has space again"), RECOVERY_S)
    until(world.portal.is_ready, RECOVERY_S)
    until(lambda: is_put(granted[0], photo), RECOVERY_S, every_s=1)
    for each in granted:
        assert world.confirm(each, photo).status_code == 201
    assert world.ask("POST", "/properties", json={"name": "Ash"}).status_code == 201
    assert len(world.images()) == 6
    until(world.are_shown, RECOVERY_S, every_s=1)


def is_put(granted: Any, photo: bytes) -> bool:
    with suppress(requests.ConnectionError):  # it restarts
        return factories.put(granted["uploadUrl"], photo, "image/jpeg").ok
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
