"""What a worker refuses: at its start, and from its queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from rq.job import Callback

from portal import jobs
from tests.processes import until
from tests.workers.conftest import Yard
from workers.worker import AllowedJob


def test_i5_two_queues_are_refused(yard: Yard) -> None:
    _refused(yard, "pixels", "network", because="exactly one queue")


@pytest.mark.parametrize("arguments", [(), ("printer",), ("--help",)])
def test_anything_but_a_queue_of_ours_is_refused(yard: Yard, arguments: tuple[str, ...]) -> None:
    _refused(yard, *arguments, because="one of pixels, network, webhooks, sync, cdn, schedule")


def test_i10_a_redis_that_may_forget_is_refused(yard: Yard) -> None:
    yard.redis.config_set("maxmemory-policy", "allkeys-lru")
    _refused(yard, "network", because="set its maxmemory-policy to noeviction (it is allkeys-lru)")


def test_i15_only_our_own_functions_run_whoever_writes_to_redis(yard: Yard) -> None:
    yard.worker()
    trace = Path(yard.directory / "trace")
    injected = [
        yard.enqueue("os.system", f"touch {trace}"),
        yard.enqueue("subprocess.run", ["touch", str(trace)]),
        yard.enqueue("workers.app"),
        yard.enqueue("tests.workers.errands.os.system", f"touch {trace}"),
    ]
    until(lambda: all(yard.status(job) == "failed" for job in injected), within_s=5)
    assert not trace.exists()


def test_i15_no_callback_runs_either(yard: Yard) -> None:
    yard.worker()
    job = yard.enqueue("note", on_success=Callback("os.abort"), on_failure=Callback("os.abort"))
    until(lambda: yard.status(job) == "finished", within_s=3)
    assert len(yard.notes("done")) == 1


def test_the_allow_list_is_what_the_portal_names() -> None:
    assert "workers.images.make_variants" in AllowedJob.allowed
    assert len(AllowedJob.allowed) == len(jobs.ALL)


def _refused(yard: Yard, *arguments: str, because: str) -> None:
    worker = yard.run("-m", "workers", *arguments)
    said, _ = worker.communicate(timeout=20)
    assert worker.returncode == 2
    assert because in said
    assert said.count("\n") == 1  # a sentence, no traceback
