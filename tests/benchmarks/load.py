"""A steady load on an installation, by clients that repeat what fails: uploads, confirms, imports, views."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import requests
from flask import Flask
from sqlalchemy import select

from portal.db import db
from portal.images.models import Image
from tests import factories
from tests.installation import Installation
from tests.outside import Outside

PHOTOS_PER_HOME = 18
UPLOAD_EVERY_S, IMPORT_EVERY_S, VIEW_EVERY_S = 2.0, 8.0, 2.0  # so little that two cores are never behind
GIVE_UP_S = 180


@dataclass
class Load:
    """Clients of the installation, and what it has confirmed to them."""

    app: Flask
    portal: Installation
    host: Outside
    key: str
    confirmed: list[UUID] = field(default_factory=list)
    accepted: list[UUID] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> list[threading.Thread]:
        tasks = ((self._upload, UPLOAD_EVERY_S), (self._import, IMPORT_EVERY_S), (self._view, VIEW_EVERY_S))
        threads = [threading.Thread(target=self._repeat, args=task, daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        return threads

    def _repeat(self, action: Callable[[int], None], every_s: float) -> None:
        number = 0
        while not self.over.wait(every_s):
            action(number)
            number += 1

    def _upload(self, number: int) -> None:
        if number % PHOTOS_PER_HOME == 0:
            self._home = self._write("/properties", {"name": f"House {number}"})["id"]
        data = picture(number)
        file = {"fileName": f"{number}.jpg", "contentType": "image/jpeg", "sizeBytes": len(data)}
        granted = self._write(f"/properties/{self._home}/images/presign", file)
        self._until_ok(lambda: factories.put(granted["uploadUrl"], data, "image/jpeg"))
        said = {"r2Key": granted["r2Key"], "contentType": "image/jpeg", "sizeBytes": len(data)}
        self.confirmed.append(UUID(self._write(f"/properties/{self._home}/images/confirm", said)["id"]))

    def _import(self, number: int) -> None:
        if number % (PHOTOS_PER_HOME // 2) == 0:
            self._imported = self._write("/properties", {"name": f"Imports {number}"})["id"]
        urls = [f"{self.host.url}/{1_000_000 + 2 * number + n}.jpg" for n in range(2)]
        job = self._write(f"/properties/{self._imported}/images/import", {"urls": urls})
        self.accepted.append(UUID(job["jobId"]))

    def _view(self, number: int) -> None:
        """Look at a photo at a width of its own, which a web process renders in the sandbox."""
        if self.confirmed:
            with suppress(requests.RequestException), self.app.app_context():
                key = db.session.scalar(select(Image.key).where(Image.uuid == self.confirmed[-1]))
                db.session.rollback()
                requests.get(f"{self.portal.url}/{key}?w={(320, 640, 1024)[number % 3]}", timeout=30)

    def _write(self, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": uuid4().hex}
        url = f"{self.portal.url}/api/v1{path}"
        return self._until_ok(lambda: requests.post(url, json=body, headers=headers, timeout=30)).json()["data"]

    def _until_ok(self, ask: Callable[[], requests.Response]) -> requests.Response:
        """Repeat a request until it succeeds, as clients do."""
        end = time.monotonic() + GIVE_UP_S
        while time.monotonic() < end:
            try:
                answer = ask()
            except requests.RequestException as error:
                self.errors[type(error).__name__] += 1
                time.sleep(0.5)
                continue
            if answer.ok:
                return answer
            self.errors[str(answer.status_code)] += 1
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise TimeoutError(f"{answer.status_code}: {answer.text}")


def picture(number: int) -> bytes:
    """A photo that no other number has."""
    return factories.jpeg(800, 600, (number % 251, number // 251 % 251, 90), comment=str(number).encode())
