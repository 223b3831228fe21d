"""A full disk: errors say so, nothing is half done, and everything goes on once there is space."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from portal import config
from portal.db import db
from portal.embedded.process import Part
from portal.embedded.supervisor import Child, Log
from portal.errors import DiskFull
from portal.images import imports, variants
from portal.images.models import READY, ImportItem, Property, Upload
from portal.infra import disk_cache, disk_space
from portal.work import work
from tests import factories
from tests.api import manage_images
from tests.buckets import Buckets
from tests.conftest import on_both
from tests.factories import Person
from tests.outside import Reply, outside
from tests.processes import ROOT, until
from tests.small_disk import NAMESPACE

REFUSE = """CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"""


@contextmanager
def full_database() -> Iterator[None]:
    """Let the database grow no more: SQLite by its own limit, PostgreSQL by the same error of a trigger."""
    if db.engine.dialect.name == "postgresql":
        with work():
            db.session.execute(text(REFUSE))
            db.session.execute(text("CREATE TRIGGER full_disk BEFORE INSERT ON property EXECUTE FUNCTION full_disk()"))
        yield
        with work():
            db.session.execute(text("DROP TRIGGER full_disk ON property"))
        return

    def limit(connection: Any) -> None:
        connection.connection.dbapi_connection.execute("PRAGMA max_page_count=1")  # no more than there are

    event.listen(db.engine, "begin", limit)
    try:
        yield
    finally:
        event.remove(db.engine, "begin", limit)
        db.session.rollback()
        db.engine.dispose()


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Make the disk count as full, or not."""

    def set_full(is_full: bool) -> None:
        monkeypatch.setattr(disk_space, "RESERVE_BYTES", 10**18 if is_full else 0)
        monkeypatch.setattr(disk_space, "RESERVE_SHARE", 0)

    return set_full


def create(person: Person) -> Any:
    """Create properties until that fails."""
    for _ in range(1000):
        answer = person.api("POST", "/api/v1/properties", json={"name": "Elm", "address": "x" * 250})
        if answer.status_code != 201:
            return answer
    raise AssertionError("never full")


@on_both
def test_a_database_whose_disk_is_full_says_so_and_goes_on_later(alice: Person) -> None:
    browser = alice.browser()
    with full_database():
        answer = create(alice)
        page = browser.post("/properties/new", data={"name": "Elm", "address": "x" * 250})
        assert alice.api("GET", "/api/v1/properties").status_code == 200
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "disk_full")
    assert answer.headers["Retry-After"]
    assert page.status_code == 503 and "disk is full" in page.text
    assert alice.api("POST", "/api/v1/properties", json={"name": "Barn"}).status_code == 201


def test_readyz_names_the_disk_and_the_space_left(app: Any, fill: Callable[[bool], None]) -> None:
    states = {}
    for is_full in (True, False):
        fill(is_full)
        answer = app.test_client().get("/readyz").json
        states[is_full] = answer["parts"]["disk"]
        assert answer["disk_free_mb"] == pytest.approx(disk_space.free_bytes(config.settings()) / 2**20, rel=0.5)
    assert states == {True: "full", False: "ready"}


def test_photos_are_refused_and_nothing_is_reserved(
    alice: Person, home: Property, fill: Callable[[bool], None], buckets: Buckets
) -> None:
    arrived = factories.uploaded(home, factories.jpeg())
    said = {"r2Key": arrived.key, "contentType": arrived.content_type, "sizeBytes": arrived.size_bytes}
    there, path = buckets.listing(), f"/api/v1/properties/{home.uuid}/images"
    fill(True)
    file = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": 2048}
    for answer in (alice.api("POST", f"{path}/presign", json=file), alice.api("POST", f"{path}/confirm", json=said)):
        assert (answer.status_code, answer.json["error"]["code"]) == (503, "disk_full")
        assert answer.headers["Retry-After"]
    form = manage_images.put(alice, home, images=[factories.jpeg()])
    assert (form.status_code, form.json) == (500, {"success": False, "message": "Failed to update property"})
    body = {"name": "hall.jpg", "type": "image/jpeg", "size": 1000}
    tile = alice.browser().post(f"/properties/{home.uuid}/uploads", json=body)
    assert tile.status_code == 503 and "disk is full" in tile.json["text"]
    assert (db.session.query(Upload).count(), buckets.listing()) == (1, there)
    fill(False)
    assert alice.api("POST", f"{path}/confirm", json=said).status_code == 201


def test_jobs_wait_for_space_and_use_up_no_attempt(
    home: Property, fill: Callable[[bool], None], work_off: Callable[[], int]
) -> None:
    image = factories.photo_in(home)
    with outside(lambda _: Reply(body=factories.jpeg(64, 48))) as host:
        imports.start(home, [f"{host.url}/a.jpg"])
        fill(True)
        with pytest.raises(DiskFull):
            work_off()
        work_off()
        assert not host.seen, "a download would be in vain"
    (item,) = db.session.query(ImportItem)
    db.session.refresh(image)
    assert (image.attempts, item.attempts, item.state) == (0, 0, "pending")
    fill(False)
    variants.make(image.id)
    db.session.refresh(image)
    assert image.variants == READY


def test_the_cache_gives_way_before_photos_are_refused(tmp_path: Path) -> None:
    spare = [10_000]
    cache = disk_cache.DiskCache(tmp_path, 10**9, lambda: spare[0])
    for n in range(4):
        cache.put(f"{n:064x}", bytes(1000))
    spare[0] = -2500
    cache.give_way()
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 1
    cache.put("f" * 64, bytes(10))  # no failure of the request
    assert not list(tmp_path.rglob("f" * 64))


def test_the_cache_makes_room_for_what_it_is_given(tmp_path: Path) -> None:
    spare = [10_000]
    cache = disk_cache.DiskCache(tmp_path, 10**9, lambda: spare[0])
    for n in range(4):
        cache.put(f"{n:064x}", bytes(1000))
    spare[0] = 500
    cache.put("f" * 64, bytes(2000))
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 2


def test_a_part_that_is_stuck_restarts_once_there_is_space() -> None:
    has_space: list[bool] = []
    script = "import time; print('no space left on device', flush=True); time.sleep(600)"
    part = Part(
        "S3",
        [sys.executable, "-c", script],
        is_stuck=lambda line: "no space left" in line,
        can_restart=lambda: bool(has_space),
    )
    child = Child(part, Log())
    first = child.process
    try:
        until(lambda: child.is_stuck)
        child.restart_if_dead()
        assert first.poll() is None, "a restart would not help yet"
        has_space.append(True)
        until(lambda: child.restart_if_dead() or child.process is not first)
        assert first.poll() is not None
    finally:
        child.process.kill()
        child.process.wait()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_installation_on_a_disk_that_fills_up_and_has_space_again(tmp_path: Path) -> None:
    """In a mount namespace of its own: see small_disk.py."""
    if not all(map(shutil.which, ("unshare", "mount"))):
        pytest.skip("needs unshare and mount (util-linux)")
    mount = [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    tried = subprocess.run(mount, capture_output=True, text=True, timeout=60)
    if tried.returncode:
        pytest.skip(f"the kernel doesn't let a mount namespace be made: {tried.stderr}")
    command = [*NAMESPACE, sys.executable, "-m", "tests.small_disk", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390)
    assert done.returncode == 0, done.stdout + done.stderr
