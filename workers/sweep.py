"""What waits too long is enqueued again; what nobody owns is removed. Each step is for itself: none keeps another."""

from collections.abc import Callable
from typing import Any

from portal import orphans
from portal.accounts import idempotency
from portal.db import release
from portal.images import retention, variants
from portal.images.imports import fetch
from portal.listings import copies, removal, sync
from portal.webhooks import delivery
from workers import job, log


class StepsFailed(Exception):
    """Some steps of a job failed; the log says how."""


@job
def sweep() -> None:
    run_each(
        variants.enqueue_missing,
        fetch.enqueue_missing,
        delivery.enqueue_missing,
        sync.enqueue_missing,
        copies.enqueue_missing,
        removal.enqueue_missing,
        retention.empty_bin,
        orphans.enqueue_missing,
    )


@job
def collect_garbage() -> None:
    orphans.collect()


@job
def tidy() -> None:
    run_each(
        retention.expire_uploads,
        retention.forget_imports,
        removal.forget_superseded,
        orphans.find,
        orphans.enqueue_missing,
        delivery.forget,
        idempotency.forget,
    )


def run_each(*steps: Callable[[], Any]) -> None:
    """Run every step, whatever becomes of the others. Raises StepsFailed in the end, so that RQ shows it."""
    failed = []
    for step in steps:
        name = f"{step.__module__.removeprefix('portal.')}.{step.__name__}"
        try:
            step()
        except Exception:
            release()
            log.exception("%s failed", name)
            failed.append(name)
    if failed:
        raise StepsFailed(f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}")
