"""What the browser tests do with a page: wait for it, read it, make photos for it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

from portal import config
from portal.db import db
from portal.images import gallery, variants
from portal.images.keys import StoragePrefix, uuid_in
from portal.images.models import Image, Property
from portal.infra import jobs, storage
from portal.inventory import ORIGINAL
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.render import Rendered, render
from portal.work import work
from tests import factories

T = TypeVar("T")

TIMEOUT_MS = 20_000  # for any wait in a page
STEP_MS = 50
# No more often: a changed gallery is fetched 250 ms after the last update.
OFTEN = "setInterval(() => ['tick', 'slow-tick'].forEach((name) => document.body?.dispatchEvent(new Event(name))), 400)"

Editor = Callable[..., Any]
SHOWN = "[...document.querySelectorAll('#photos .tile')].map(tile => tile.id.slice(2))"
ANNOUNCED = "document.querySelector('#live-now').textContent"


def finished(home: Property, *names: str, size: tuple[int, int] = (300, 200)) -> list[Image]:
    """Make photos as upload and worker leave them; other tests show that those do."""
    data, picture, rendered = _rendered(*size)
    prefix = StoragePrefix.of(home)
    images = []
    with work() as w, ThreadPoolExecutor(4) as pool:
        originals = [prefix.original_key(picture.type) for _ in names]
        put = partial(config.in_this_app(w.put), storage.uploads, data=data, type=picture.type, kind=ORIGINAL)
        puts = [pool.submit(put, key) for key in originals]
        stored = list(pool.map(config.in_this_app(lambda _: variants.store(w, prefix, rendered)), names))
        for name, key, made, original in zip(names, originals, stored, puts, strict=True):
            original.result()
            image = Image(property_id=home.id, file_name=name, type=picture.type, size_bytes=len(data))
            image.key, image.original_key = prefix.original_key(picture.type), key
            image.uuid, image.sha256, image.added_by = uuid_in(image.key), hashlib.sha256(data).hexdigest(), "Alice"
            variants.swap(w, image, made)
            images.append(image)
        gallery.append(home, *images)
    return images


@cache
def _rendered(width: int, height: int) -> tuple[bytes, Picture, Rendered]:
    data = factories.jpeg(width, height)
    picture = inspect(data)
    return data, picture, render(data, picture)


@contextmanager
def at_work(*names: str) -> Iterator[None]:
    """Run a worker thread for each of these queues during the block."""
    stop = threading.Event()

    def run(name: str) -> None:
        queue = jobs.queue(name)
        while not stop.wait(0.05):
            while not stop.is_set() and not queue.is_empty():
                job = queue.fetch_job(queue.pop_job_id())
                if job:
                    job.func(*job.args)

    threads = [threading.Thread(target=config.in_this_app(run), args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def shown(page: Any, names: dict[str, str]) -> str:
    return "".join(names[id] for id in page.evaluate(SHOWN))


def shows(page: Any, names: dict[str, str], expected: str) -> bool:
    """Wait until the page shows the photos in this order: a form is submitted a moment after its key."""
    return becomes(page, lambda: shown(page, names), expected) == expected


def stored(home: Property) -> str:
    db.session.rollback()  # end the transaction, to read fresh rows
    return "".join(image.file_name[0] for image in gallery.images(home))


def becomes_stored(page: Any, home: Property, expected: str) -> bool:
    """Wait until the gallery is stored in this order."""
    return becomes(page, lambda: stored(home), expected) == expected


def becomes(page: Any, read: Callable[[], T], expected: T) -> T:
    """Read until the value is the expected one or the timeout is over; return the last. The page runs meanwhile."""
    for _ in range(TIMEOUT_MS // STEP_MS):
        if (found := read()) == expected:
            return found
        page.wait_for_timeout(STEP_MS)  # any other wait would block the routes of a test
    return read()


def until(page: Any, holds: str) -> None:
    """Wait for a condition; Playwright's wait_for_function on a string needs eval, which the pages forbid."""
    assert becomes(page, lambda: bool(page.evaluate(holds)), True), f"{holds} does not hold"


def hurry(page: Any) -> None:
    """Make pages opened in this tab from now on poll all the time."""
    page.add_init_script(OFTEN)


def go_on(page: Any, rounds: int = 2) -> None:
    """Wait for this many polls of a hurried page."""
    for _ in range(rounds):
        with page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
            pass


def centre(page: Any, nth: int) -> tuple[float, float]:
    box = page.locator("#photos a.shot").nth(nth).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
