"""The current code on the data of an earlier release: every job is done, every photo is there."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from redis import Redis

from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import jobs
from tests.conftest import scratch
from tests.installation import Installation, installation
from tests.outside import Outside, Reply, outside
from tests.processes import until
from tests.upgrades.world import ABOUT, HOOKS_PORT, PMS_PORT

RELEASES = sorted(Path(__file__).parent.glob("*.tar.xz"))
JOBS = {  # a release knew jobs by these names, one per queue: accepted for one release more
    "2026-11-29": {
        "webhooks": {"deliver_webhooks"},
        "network": {"clear_leftovers", "run_imports", "tidy"},
        "schedule": {"ring_again"},
        "pixels": {"make_avif-1-320", "make_variants-4"},
        "sync": {"sync_listings"},
        "cdn": {"image_cdn_upload"},
    }
}


class Upgraded:
    """An installation on old data, and what its maker recorded about it."""

    def __init__(self, release: str, portal: Installation, about: dict[str, Any], hooks: Outside) -> None:
        self.release, self.about, self.hooks = release, about, hooks
        embedded = json.loads((portal.directory / "embedded.json").read_text())
        self.redis = Redis.from_url(embedded["redis_url"])
        self._url = f"{portal.url}/api/v1"
        self._headers = {"Authorization": f"Bearer {about['api_key']}"}
        self.images = f"/properties/{about['property']}/images"

    def get(self, path: str) -> Any:
        answer = requests.get(self._url + path, headers=self._headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def left(self) -> dict[str, list[str]]:
        """The unfinished jobs, by queue or registry."""
        keys = [key.decode() for key in self.redis.keys("rq:queue:*") if self.redis.type(key) == b"list"]
        waiting = {key: [item.decode() for item in self.redis.lrange(key, 0, -1)] for key in keys}
        for queue in jobs.QUEUES:
            for registry in ("wip", "scheduled", "deferred"):
                found = self.redis.zrange(f"rq:{registry}:{queue}", 0, -1)
                waiting[f"{registry}:{queue}"] = [item.decode() for item in found]
        every_10_s = {"ring_again", "sweep"}
        return {place: ids for place, ids in waiting.items() if set(ids) - every_10_s}


@contextmanager
def upgraded(release: Path) -> Iterator[Upgraded]:
    """The data of a release under the current code, as if it had stopped a minute ago."""
    directory = scratch("up-")
    try:
        with tarfile.open(release) as archive:
            archive.extractall(directory, filter="data")
        data = directory / "data"
        about = json.loads((data / ABOUT).read_text())
        passed = timedelta(seconds=time.time() - about["left_at"] - 60)
        _shift_times_in_sqlite(data / "frontage.db", passed)
        _shift_times_in_valkey(data / "valkey", passed)
        with (
            FakeHostaway(listings=2, pictures=2, port=PMS_PORT),
            outside(lambda _: Reply(204), port=HOOKS_PORT) as hooks,
            installation(data, ALLOWED_PRIVATE_NETS="127.0.0.0/8", SYNC_EVERY_MIN="10080") as portal,
        ):
            yield Upgraded(release.name.removesuffix(".tar.xz"), portal, about, hooks)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _shift_times_in_sqlite(database: Path, passed: timedelta) -> None:
    """Move every timestamp in a database, so that no lease, link or upload of its day has expired."""

    def moved(moment: str | None) -> str | None:
        return moment and str(datetime.fromisoformat(moment) + passed)

    with sqlite3.connect(database) as connection:
        connection.create_function("moved", 1, moved)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            moments = [f"{name} = moved({name})" for _, name, kind, *_ in columns if kind == "DATETIME"]
            if moments:
                connection.execute(f"UPDATE {table} SET {', '.join(moments)}")
    connection.close()


def _shift_times_in_valkey(directory: Path, passed: timedelta) -> None:
    """Move the expiry of keys, in milliseconds."""

    def moved(moment: re.Match[bytes]) -> bytes:
        return b"%d" % (int(moment[0]) + passed // timedelta(milliseconds=1))

    for log in directory.glob("appendonlydir/*.incr.aof"):
        log.write_bytes(re.sub(rb"(?<=\$13\r\n)1\d{12}(?=\r\n)", moved, log.read_bytes()))


def test_an_upgrade_finishes_every_job_and_finds_every_photo(subtests: pytest.Subtests) -> None:
    """One test, because the data contain the addresses of the outside world: two processes could not share them."""
    for release in RELEASES:
        with upgraded(release) as installed:
            for holds in (
                a_job_of_every_kind_waited,
                every_job_is_finished,
                every_photo_is_there,
                every_copy_of_a_listing_is_there,
            ):
                with subtests.test(holds.__name__, release=release.name):
                    holds(installed)


def a_job_of_every_kind_waited(upgraded: Upgraded) -> None:
    waited = {f"rq:queue:{queue}": sorted(ids) for queue, ids in JOBS[upgraded.release].items()}
    assert upgraded.about["waiting"] == waited


def every_job_is_finished(upgraded: Upgraded) -> None:
    until(lambda: not upgraded.left(), within_s=60)
    failed = {queue: upgraded.redis.zrange(f"rq:failed:{queue}", 0, -1) for queue in jobs.QUEUES}
    assert not any(failed.values()), failed
    job = upgraded.get(f"{upgraded.images}/import/{upgraded.about['import']}")["data"]
    assert (job["status"], job["imported"], job["failed"]) == ("completed", 1, 0)
    until(lambda: upgraded.hooks.seen)
    assert {json.loads(seen.body)["type"] for seen in upgraded.hooks.seen} == {"property.updated"}


def every_photo_is_there(upgraded: Upgraded) -> None:
    until(lambda: not upgraded.left(), within_s=60)
    images = upgraded.get(upgraded.images)["data"]
    assert [image["id"] for image in images][:4] == upgraded.about["photos"]
    assert len(images) == 5, "the one that waited for its import too"
    for image in images:
        for kind in ("webp", "jpeg", "avif"):
            answer = requests.get(image["url"], headers={"Accept": f"image/{kind}"}, timeout=30)
            assert answer.status_code == 200
            Image.open(BytesIO(answer.content)).load()


def every_copy_of_a_listing_is_there(upgraded: Upgraded) -> None:
    until(lambda: not upgraded.left(), within_s=60)
    listings = upgraded.get("/listings")["listings"]
    records = [image for listing in listings for image in upgraded.get(f"/listings/{listing['id']}/images")]
    assert [(image["imageType"], image["failureReason"]) for image in records].count(("GALLERY", None)) == 4
    assert len(records) == 6
    for image in records:
        assert requests.get(image["cdnURL"], timeout=30).status_code == 200
