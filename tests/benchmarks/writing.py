"""How long ten people who describe photos wait while webhooks go out, on SQLite: python -m tests.benchmarks.writing

Ten threads set descriptions through `gallery.describe`, each a moment after its last, each on another property.
Phases alternate in one run: no other writer; then real workers send a backlog of other workspaces' webhooks to a
receiver that answers immediately. A phase counts from its second second on. The database is on the disk of TMPDIR."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import func, insert, select, update

from app import create_app
from portal.config import Settings
from portal.db import db, now
from portal.embedded import start_valkey
from portal.images import gallery
from portal.images.models import Property
from portal.infra import jobs
from portal.webhooks import endpoints, events
from portal.webhooks.models import DELIVERED, PENDING, Delivery
from portal.work import work
from tests import factories
from tests.benchmarks.routes import row
from tests.outside import Reply, outside
from tests.processes import started, until

WRITERS, PAUSE_S = 10, 0.05
SENDERS, ENDPOINTS, BACKLOG = 4, 5, 30_000  # workspaces with a backlog, endpoints of each, deliveries in all
PHASE_S, WARM_UP_S, ROUNDS = 12, 2, 3
WORKERS = [jobs.WEBHOOKS] * 2  # as in production
NOWHERE = {"s3_endpoint_url": "http://127.0.0.1:9", "s3_access_key": "none", "s3_secret_key": "none"}


class Writer(threading.Thread):
    """Describes one photo repeatedly, and records how long each call took."""

    def __init__(self, app: Flask, home: Property, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.app, self.home_id, self.over = app, home.id, over
        self.uuid = str(gallery.images(home)[0].uuid)
        self.took_s: list[float] = []

    def run(self) -> None:
        warm_at = time.monotonic() + WARM_UP_S
        while not self.over.wait(PAUSE_S):
            with self.app.app_context():
                began = time.monotonic()
                gallery.describe(db.session.get_one(Property, self.home_id), self.uuid, f"Seen at {began}")
                if began > warm_at:
                    self.took_s.append(time.monotonic() - began)


@contextmanager
def installation() -> Iterator[tuple[Flask, dict[str, str]]]:
    """An app on an empty database, and the environment of its workers."""
    with tempfile.TemporaryDirectory(prefix="frontage-") as folder:
        directory = Path(folder)
        valkey = start_valkey(directory / "valkey")
        database = f"sqlite:///{directory / 'bench.db'}"
        known = valkey.settings | NOWHERE
        settings = Settings(
            data_dir=directory,
            secret_key="x" * 40,
            database_url=database,
            allowed_private_nets=(ip_network("127.0.0.0/8"),),
            **known,
        )
        app = create_app(settings)
        with app.app_context():
            upgrade()
            yield (
                app,
                {
                    "DATA_DIR": folder,
                    "SECRET_KEY": settings.secret_key,
                    "DATABASE_URL": database,
                    "REDIS_URL": known["redis_url"],
                    "S3_ENDPOINT_URL": known["s3_endpoint_url"],
                    "AWS_ACCESS_KEY_ID": known["s3_access_key"],
                    "AWS_SECRET_ACCESS_KEY": known["s3_secret_key"],
                    "ALLOWED_PRIVATE_NETS": "127.0.0.0/8",
                },
            )
        valkey.stop()


def homes(app: Flask) -> list[Property]:
    """One property with one photo per writer."""
    alice = factories.person(app, "Alma Stays", "alice@alma.example", admin=True, plan="pro")
    made = [factories.home_of(alice.workspace, f"House {n}") for n in range(WRITERS)]
    with work():
        db.session.add_all(row(home, 0) for home in made)
    return made


def backlog(app: Flask, url: str) -> None:
    """Deliveries of other workspaces, all marked failed until a phase makes them due."""
    for n in range(SENDERS):
        person = factories.person(app, f"Sender {n}", f"{n}@sender.example", admin=True)
        made = [endpoints.create(person.workspace, url, [events.PROPERTY_UPDATED]).id for _ in range(ENDPOINTS)]
        count = BACKLOG // SENDERS // ENDPOINTS
        rows = [{"endpoint_id": id, "event": events.PROPERTY_UPDATED, "body": "{}"} for id in made] * count
        with work():
            db.session.execute(insert(Delivery), rows)


def delivered() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(Delivery.state == DELIVERED)) or 0


def phase(app: Flask, its_homes: list[Property]) -> tuple[list[float], float]:
    """Let everybody write for a while; return how long each call took, and how many webhooks arrived per second."""
    over = threading.Event()
    writers = [Writer(app, home, over) for home in its_homes]
    db.session.rollback()
    for writer in writers:
        writer.start()
    time.sleep(WARM_UP_S)
    before = delivered()
    time.sleep(PHASE_S)
    rate = (delivered() - before) / PHASE_S
    over.set()
    for writer in writers:
        writer.join()
    return [took for writer in writers for took in writer.took_s], rate


def show(name: str, took_s: list[float], rate: float) -> None:
    cuts = [1000 * cut for cut in statistics.quantiles(took_s, n=100)]
    slowest = 1000 * max(took_s)
    figures = f"p50 {cuts[49]:6.0f} ms   p95 {cuts[94]:6.0f}   p99 {cuts[98]:6.0f}   slowest {slowest:6.0f}"
    print(f"{name:22}{figures}   {len(took_s) / PHASE_S:5.0f} writes/s   {rate:5.0f} deliveries/s", flush=True)


def receive() -> None:
    """Run the receiver in another process: print the address, and answer."""
    with outside(lambda _: Reply()) as receiver:
        print(receiver.url, flush=True)
        threading.Event().wait()


def main() -> None:
    command = ("-m", "tests.benchmarks.writing", "receive")
    with installation() as (app, env), started(*command) as receiver:
        assert receiver.stdout
        its_homes = homes(app)
        backlog(app, receiver.stdout.readline().strip())
        totals: dict[str, list[float]] = {"nothing else": [], "beside deliveries": []}
        for _ in range(ROUNDS):
            took_s, rate = phase(app, its_homes)
            totals["nothing else"] += took_s
            show("nothing else", took_s, rate)
            jobs.connection().flushall()  # left by the killed workers of the last round
            lease_over()
            with started("-m", "workers.pool", *WORKERS, env=env, stdout=None):
                until(jobs.workers)
                jobs.enqueue(jobs.deliver_webhooks())
                took_s, rate = phase(app, its_homes)
            totals["beside deliveries"] += took_s
            show("beside deliveries", took_s, rate)
        for name, all_took_s in totals.items():
            print(f"{name}, all rounds: p99 {1000 * statistics.quantiles(all_took_s, n=100)[98]:.0f} ms")


def lease_over() -> None:
    """Expire the leases of killed workers."""
    with work():
        db.session.execute(update(Delivery).where(Delivery.state == PENDING).values(next_at=now(), sending_until=None))


if __name__ == "__main__":
    receive() if sys.argv[1:] == ["receive"] else main()
