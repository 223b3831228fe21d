"""What a worker refuses: on start, and from its queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from rq.job import Callback

from portal.infra import jobs
from tests.processes import until
from tests.workers.conftest import Yard
from workers import __main__ as one
from workers import pool, serving
from workers.worker import AllowedJob

QUEUES = "one of pixels, network, webhooks, sync, cdn, schedule"


def test_two_queues_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        one.main(["pixels", "network"])
    assert "exactly one queue" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["printer"], ["--help"]])
def test_an_unknown_queue_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    for main in (one.main, pool.main):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert QUEUES in capsys.readouterr().err


def test_a_redis_that_may_evict_keys_is_refused(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    yard.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(SystemExit) as left:
            serving._wait_for(yard.redis)
    finally:
        yard.redis.config_set("maxmemory-policy", "noeviction")
    assert left.value.code == 2
    assert "set its maxmemory-policy to noeviction (it is allkeys-lru)" in capsys.readouterr().err


def test_only_our_functions_run_whoever_writes_to_redis(busy: Yard) -> None:
    trace = Path(busy.directory / "trace")
    injected = [
        busy.enqueue("os.system", f"touch {trace}"),
        busy.enqueue("subprocess.run", ["touch", str(trace)]),
        busy.enqueue("workers.app"),
        busy.enqueue("tests.workers.sample_jobs.os.system", f"touch {trace}"),
    ]
    until(lambda: all(busy.status(job) == "failed" for job in injected))
    assert not trace.exists()


def test_no_callback_runs_either(busy: Yard) -> None:
    job = busy.enqueue("note", on_success=Callback("os.abort"), on_failure=Callback("os.abort"))
    until(lambda: busy.status(job) == "finished")
    assert len(busy.notes("done")) == 1


def test_the_allow_list_matches_the_portals_jobs() -> None:
    assert "workers.images.make_variants" in AllowedJob.allowed
    assert len(AllowedJob.allowed) == len(jobs.ALL) + len(jobs.FORMER_NAMES)
