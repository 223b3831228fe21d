"""The API's routes compared with a bare Flask JSON route in the same run: python -m tests.benchmarks.routes

Calls go straight into the WSGI app, without a socket; ours, bare ones and, for the most frequent routes, the same
work written by hand (`by_hand`) are interleaved, and the figures are ratios within one run. Statements are counted
for galleries of 2 and of 60 images, without BEGIN and COMMIT."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask, jsonify, request
from flask_migrate import upgrade
from sqlalchemy import Engine, delete, event

from app import create_app
from portal.config import Settings
from portal.db import db
from portal.embedded import start_seaweedfs, start_valkey
from portal.images.models import Image, Property, Upload
from portal.images.uploads import AnnouncedFile, presign, url_of
from portal.infra import jobs, storage
from portal.work import work
from tests import factories
from tests.benchmarks import by_hand

SIZES = (2, 60)  # with one image there is no order to change
ROUNDS, CALLS = 5, 20
BY_HAND = ("presign", "list")
PHOTO = factories.jpeg(640, 480)
FILE = {"fileName": "a.jpg", "contentType": "image/jpeg", "sizeBytes": len(PHOTO)}
Call = tuple[str, str, dict[str, Any] | None]


@contextmanager
def installation() -> Iterator[Flask]:
    with tempfile.TemporaryDirectory(prefix="frontage-") as folder:
        directory = Path(folder)
        valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
        try:
            settings = Settings(
                data_dir=directory,
                database_url=f"sqlite:///{directory / 'portal.db'}",
                secret_key="only for measuring, only for measuring",
                **valkey.settings,
                **s3.settings,
            )
            app = create_app(settings)
            app.config["API_CALLS_PER_KEY"] = "100000000 per minute"
            with app.app_context():
                upgrade()
                storage.uploads.prepare(("http://localhost",))
                storage.cdn.prepare()
                yield app
        finally:
            valkey.stop()
            s3.stop()


def bare() -> Flask:
    """The minimum cost of a JSON route."""
    app = Flask("bare")
    app.add_url_rule("/", "echo", lambda: jsonify(data=request.get_json()), methods=["POST"])
    return app


def ask(app: Flask, key: str, call: Call) -> tuple[int, bytes]:
    method, path, body = call
    data = json.dumps(body).encode() if body is not None else b""
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_AUTHORIZATION": f"Bearer {key}",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(data),
        "wsgi.errors": BytesIO(),
    }
    said: list[str] = []
    answer = app(environ, lambda status, headers, exc_info=None: said.append(status))  # type: ignore[arg-type]
    content = b"".join(answer)
    getattr(answer, "close", lambda: None)()
    db.session.rollback()
    return int(said[0][:3]), content


class Gallery:
    """A property with this many images, and the calls that are measured on it."""

    def __init__(self, person: factories.Person, size: int) -> None:
        self.home = factories.home_of(person.workspace, f"{size} images")
        self.size, self.at = size, f"/api/v1/properties/{self.home.uuid}/images"
        self.fill()

    def fill(self) -> None:
        """Fill the gallery with rows only; nothing reads the pixels."""
        with work():
            db.session.execute(delete(Image).where(Image.property_id == self.home.id))
            db.session.execute(delete(Upload).where(Upload.property_id == self.home.id))
            db.session.add_all(row(self.home, position) for position in range(self.size))
        found = db.session.query(Image.uuid).where(Image.property_id == self.home.id).order_by(Image.position)
        self.uuids = [str(uuid) for (uuid,) in found]

    def calls(self) -> dict[str, Callable[[], Call]]:
        return {
            "presign": lambda: ("POST", f"{self.at}/presign", FILE),
            "presign-batch of 20": lambda: ("POST", f"{self.at}/presign-batch", {"images": [FILE] * 20}),
            "confirm": lambda: ("POST", f"{self.at}/confirm", self.arrived(1)[0]),
            "confirm-batch of 10": lambda: ("POST", f"{self.at}/confirm-batch", {"images": self.arrived(10)}),
            "list": lambda: ("GET", self.at, None),
            "reorder": self.reorder,
        }

    def arrived(self, count: int) -> list[dict[str, Any]]:
        made = presign(self.home, [AnnouncedFile("a.jpg", "image/jpeg", len(PHOTO))] * count)
        for upload in made:
            factories.put(url_of(upload), PHOTO, "image/jpeg")
        return [{"r2Key": upload.key, "contentType": "image/jpeg", "sizeBytes": len(PHOTO)} for upload in made]

    def reorder(self) -> Call:
        """Move the last image to the front: every position changes."""
        self.uuids = self.uuids[-1:] + self.uuids[:-1]
        return "PATCH", f"{self.at}/reorder", {"imageIds": self.uuids[:20]}


def row(home: Property, position: int) -> Image:
    return Image(
        property_id=home.id,
        uuid=uuid4(),
        key=str(uuid4()),
        original_key=str(uuid4()),
        file_name="a.jpg",
        type="image/jpeg",
        size_bytes=1,
        width=1,
        height=1,
        sha256="",
        position=position,
        is_main=position == 0,
    )


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements of a block."""
    said: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith("BEGIN"):
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield said
    event.remove(Engine, "before_cursor_execute", note)


def statements(app: Flask, key: str, gallery: Gallery, name: str) -> int:
    """Count the statements of a call's second run; the first one records the use of the key."""
    for _ in range(2):
        call = gallery.calls()[name]()
        with counted() as said:
            status, content = ask(app, key, call)
        assert status < 300, (name, status, content)
    return len(said)


class Clock:
    """What a call takes: the fastest quarter by wall clock, as other load only adds to it; and CPU."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def measure(self, app: Flask, key: str, call: Call) -> None:
        began, began_cpu = time.perf_counter(), time.process_time()
        status, content = ask(app, key, call)
        self.cpu_s.append(time.process_time() - began_cpu)
        self.wall_s.append(time.perf_counter() - began)
        assert status < 300, (call, status, content)

    @property
    def wall(self) -> float:
        return statistics.quantiles(self.wall_s, n=4)[0]

    @property
    def cpu(self) -> float:
        return statistics.quantiles(self.cpu_s, n=4)[0]


def timed(apps: dict[str, Flask], key: str, gallery: Gallery, name: str) -> dict[str, Clock]:
    """Time a call, alternating with a bare one and, where there is one, the hand-written equivalent."""
    make, clocks = gallery.calls()[name], {which: Clock() for which in apps}
    for _ in range(ROUNDS):
        gallery.fill()
        for _ in range(1 if name == "confirm-batch of 10" else 4 if name == "presign-batch of 20" else CALLS):
            for which, app in apps.items():
                clocks[which].measure(app, key, ("POST", "/", FILE) if which == "bare" else make())
    return clocks


def urls_ms(count: int = 20) -> float:
    """Milliseconds that `count` presigned URLs take."""
    times = []
    for _ in range(200):
        began = time.perf_counter()
        for number in range(count):
            storage.uploads.presign_put(f"images/a/b/{number}.jpg", content_type="image/jpeg", size_bytes=9)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def main() -> None:
    with installation() as app:
        alice = factories.person(app, "Alma Stays", "alice@alma.example", admin=True, plan="unmeasured")
        few, many = (Gallery(alice, size) for size in SIZES)
        path = str(app.config["SQLALCHEMY_DATABASE_URI"]).removeprefix("sqlite:///")
        hands = {
            "Core": by_hand.with_core(path, jobs.connection()),
            "driver": by_hand.with_driver(path, jobs.connection()),
        }
        for hand in hands.values():
            hand.extensions["frontage"] = app.extensions["frontage"]  # the same buckets
        plain = bare()
        print(f"{'route':22}{'calls/s':>9}{'x bare':>8}{'CPU x':>7}{'SQL, 2 images':>15}{'60 images':>11}")
        for name in few.calls():
            counts = []
            for gallery in (few, many):
                gallery.fill()
                counts.append(statements(app, alice.key, gallery, name))
            apps = {"ours": app, "bare": plain} | (hands if name in BY_HAND else {})
            clocks = timed(apps, alice.key, many, name)
            ours, least = clocks["ours"], clocks["bare"]
            ratios = f"{ours.wall / least.wall:8.1f}{ours.cpu / least.cpu:7.1f}"
            print(f"{name:22}{1 / ours.wall:9.0f}{ratios}{counts[0]:15}{counts[1]:11}")
            for which in hands.keys() & clocks.keys():
                theirs = clocks[which]
                ratios = f"{theirs.wall / least.wall:8.1f}{theirs.cpu / least.cpu:7.1f}"
                above = f"ours is {ours.wall / theirs.wall:.1f} x, CPU {ours.cpu / theirs.cpu:.1f} x"
                print(f"{'  by hand, ' + which:22}{1 / theirs.wall:9.0f}{ratios}   {above}")
        print(f"{'bare Flask':22}{1 / least.wall:9.0f}")
        print(f"20 presigned URLs: {urls_ms():.3f} ms")


if __name__ == "__main__":
    from portal.accounts.plans import PLANS, Plan

    PLANS["unmeasured"] = Plan("unmeasured", "Unmeasured", images_per_property=1000, imports_per_month=0)
    main()
