"""The jobs page over 10,000 listings of 21 pictures: python -m tests.benchmarks.activity [DATABASE_URL]

Times the queries that the page polls once a second, and those of the badge on every page: medians of twenty runs in
ms, wall clock and our own CPU. With SQLite all of the work happens in this process, so a busy machine changes only
the wall clock."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask_migrate import upgrade
from sqlalchemy import insert, update

from app import create_app
from portal import activity
from portal.accounts import access
from portal.accounts.models import Workspace
from portal.config import Settings
from portal.db import db, now
from portal.listings import counts
from portal.listings.models import GALLERY, THUMBNAIL, IntegrationAccount, IntegrationDefinition, Listing, ListingImage
from portal.work import work

LISTINGS, PICTURES, RUNS = 10_000, 20, 20
BATCH = 500
NOTES = "A bright room with a view over the garden, a table for six and a stove. "


def main(url: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="frontage-") as name:
        directory = Path(name)
        app = create_app(
            Settings(
                data_dir=directory,
                secret_key="x" * 40,
                database_url=url or f"sqlite:///{directory / 'bench.db'}",
                redis_url="redis://127.0.0.1:9",  # unused: nothing listens on this port
                s3_endpoint_url="http://127.0.0.1:9",
                s3_access_key="x",
                s3_secret_key="x",
            )
        )
        with app.app_context():
            upgrade()
            workspace = access.create_workspace("Bench", "pro")
            _furnish(workspace)
            for title, failures in (("one picture in forty failed", 40), ("every picture failed", 1)):
                _fail(failures)
                _measure(f"{LISTINGS} listings, {title}", workspace)


def _furnish(workspace: Workspace) -> None:
    """Two accounts; everything is copied except for some hundred waiting listings."""
    with work():
        definition = IntegrationDefinition(workspace_id=workspace.id, provider="HOSTAWAY", enable_images_cdn=True)
        db.session.add(definition)
        db.session.flush()
        accounts = [
            IntegrationAccount(definition_id=definition.id, name=f"Account {n}", host="pms.example", next_at=now())
            for n in range(2)
        ]
        db.session.add_all(accounts)
        db.session.flush()
        account_ids = [account.id for account in accounts]
    for first in range(0, LISTINGS, BATCH):
        numbers = range(first, first + BATCH)
        with work():
            rows = [_listing(workspace.id, account_ids[number % 2], number) for number in numbers]
            ids = list(db.session.scalars(insert(Listing).returning(Listing.id), rows))
            images = [
                image
                for id, number in zip(ids, numbers, strict=True)
                for image in _images(account_ids[number % 2], id, number)
            ]
            db.session.execute(insert(ListingImage), images)
            counts.refresh(ids)
    with work():
        db.session.execute(update(Listing).values(copied_at=now() - timedelta(hours=2)))


def _urls(number: int) -> list[str]:
    return [
        f"https://cdn{number % 3}.pms.example/pictures/{number}/{place}-{number * place:08x}.jpg"
        for place in range(PICTURES)
    ]


def _listing(workspace_id: int, account_id: int, number: int) -> dict[str, Any]:
    urls = _urls(number)
    return {
        "workspace_id": workspace_id,
        "account_id": account_id,
        "external_id": str(100_000 + number),
        "name": f"House {number}",
        "thumbnail_url": urls[0],
        "pictures": [{"url": url, "description": NOTES} for url in urls],
        "content_sha256": "0" * 64,
        "is_detected": True,
    }


def _images(account_id: int, listing_id: int, number: int) -> Iterator[dict[str, Any]]:
    urls = _urls(number)
    waits = number % 40 == 7
    for type, position, url in [(THUMBNAIL, 0, urls[0]), *((GALLERY, n, url) for n, url in enumerate(urls))]:
        digest = sha256(url.encode()).hexdigest()
        yield {
            "account_id": account_id,
            "listing_id": listing_id,
            "type": type,
            "original_url": url,
            "url_sha256": digest,
            "host": url.split("/")[2],
            "position": position,
            "key": None if waits else f"{'0' * 36}/{'0' * 36}/gallery/{position}_{digest[:32]}.jpg",
            "image_hash": None if waits else digest[:32],
            "next_at": now() if waits else now() + timedelta(days=7),
        }


def _fail(every: int) -> None:
    """Mark the pictures of every nth listing as failed; a dozen others are being fetched."""
    reasons = {0: "PMS image returns 404", 1: "The server answered 503.", 2: "Invalid image format"}
    with work():
        for rest, reason in reasons.items():
            image = update(ListingImage).where(ListingImage.id % every == 0, ListingImage.id % 3 == rest)
            db.session.execute(image.values(failure_reason=reason, key=None, next_at=None))
        db.session.execute(
            update(ListingImage).where(ListingImage.id < 13).values(fetching_until=now() + timedelta(hours=1))
        )
        counts.refresh(range(1, LISTINGS + 1))


def _measure(title: str, workspace: Workspace) -> None:
    print(f"\n{title}")
    asked: dict[str, Callable[[], Any]] = {
        "has_failed": lambda: activity.has_failed(workspace),
        "counts": lambda: activity.counts(workspace),
        "jobs_per_minute": lambda: activity.jobs_per_minute(workspace),
        "page": lambda: activity.page(workspace).items,
        **{
            f"page, {state}": lambda state=state: activity.page(workspace, state=state).items
            for state in activity.STATES
        },
        "page, last": lambda: activity.page(workspace, kind="listings", after="..40..").items,
        "page, search": lambda: activity.page(workspace, search="house 4242").items,
        "page, no such": lambda: activity.page(workspace, search="nowhere").items,
        "causes": lambda: activity.causes(workspace),
        "failed pictures": lambda: activity.failed_pictures(activity.page(workspace, state="failed").items),
    }
    for name, ask in asked.items():
        took = [_took_ms(ask) for _ in range(RUNS)]
        wall, cpu = (statistics.median(column) for column in zip(*took, strict=True))
        print(f"  {name:16}{wall:8.1f}{cpu:8.1f}", flush=True)


def _took_ms(ask: Callable[[], Any]) -> tuple[float, float]:
    db.session.rollback()
    db.session.expire_all()
    wall, cpu = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
