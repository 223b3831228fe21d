"""Jobs for upkeep: enqueue missing jobs, delete what has expired. A failing step doesn't prevent the others."""

from collections.abc import Callable
from typing import Any

from portal import orphans
from portal.accounts import idempotency
from portal.db import release
from portal.images import retention, variants
from portal.images.imports import fetch
from portal.infra import disk_cache
from portal.listings import copies, removal, sync
from portal.listings.copies import repair
from portal.webhooks import delivery
from workers import job, log


class StepsFailed(Exception):
    """Some steps of a job failed; the log has their errors."""


@job
def sweep() -> None:
    run_each(
        disk_cache.give_way,
        variants.enqueue_missing,
        fetch.enqueue_missing,
        delivery.enqueue_missing,
        sync.enqueue_missing,
        repair.schedule_marked,
        copies.enqueue_missing,
        removal.enqueue_missing,
        retention.purge_deleted_images,
        orphans.enqueue_missing,
    )


@job
def collect_garbage() -> None:
    orphans.collect()


@job
def tidy() -> None:
    run_each(
        retention.expire_uploads,
        retention.delete_old_imports,
        retention.expire_replaced,
        removal.drop_superseded_copies,
        orphans.find,
        orphans.enqueue_missing,
        delivery.delete_expired,
        idempotency.delete_expired,
    )


def run_each(*steps: Callable[[], Any]) -> None:
    """Run every step, even if another one fails. Raises StepsFailed at the end, so that RQ's dashboard shows it."""
    failed = []
    for step in steps:
        name = f"{step.__module__.removeprefix('portal.')}.{step.__name__}"
        try:
            step()
        except Exception:
            release()
            log.exception("step failed: %s", name)
            failed.append(name)
    if failed:
        raise StepsFailed(f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}")
