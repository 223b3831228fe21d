"""Every job that the portal names is a function of the workers with the same parameters."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from rq.serializers import JSONSerializer

from portal.infra import jobs
from portal.infra.jobs import Job
from workers.worker import AllowedJob


@pytest.mark.parametrize("make", jobs.ALL, ids=lambda make: make.__name__)
class TestEachJob:
    def test_its_function_exists_with_the_same_name_and_parameters(self, make: Callable[..., Job]) -> None:
        module, _, name = _made(make).name.rpartition(".")
        function = getattr(importlib.import_module(module), name)
        assert name == make.__name__
        assert list(inspect.signature(function).parameters) == list(inspect.signature(make).parameters)

    def test_its_queue_has_a_worker(self, make: Callable[..., Job]) -> None:
        assert _made(make).queue in jobs.QUEUES

    def test_its_id_is_valid_for_rq(self, make: Callable[..., Job]) -> None:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", _made(make).id)

    def test_its_arguments_are_plain_data_in_the_order_of_its_parameters(self, make: Callable[..., Job]) -> None:
        values = range(7, 7 + len(inspect.signature(make).parameters))
        assert make(*values).args == tuple(values)

    def test_it_has_a_timeout(self, make: Callable[..., Job]) -> None:
        assert 0 < _made(make).timeout_s <= 3600


def _made(make: Callable[..., Job]) -> Job:
    values: list[Any] = [1 for _ in inspect.signature(make).parameters]
    return make(*values)


def test_a_job_that_waits_again_does_not_expire_with_its_last_result(app: Flask) -> None:
    """Otherwise a job that waits longer than its last result is kept would vanish from its queue."""
    jobs.enqueue(jobs.tidy())
    jobs.queue(jobs.NETWORK).pop_job_id()
    jobs.connection().expire("rq:job:tidy", jobs.RESULT_TTL_S)  # as RQ does at its end
    jobs.enqueue(jobs.tidy())
    assert jobs.connection().ttl("rq:job:tidy") == -1


def test_a_job_enqueued_while_it_runs_does_not_expire_either(app: Flask) -> None:
    jobs.enqueue(jobs.tidy())
    running = AllowedJob.fetch("tidy", connection=jobs.connection(), serializer=JSONSerializer)
    jobs.queue(jobs.NETWORK).pop_job_id()
    running.cleanup(jobs.RESULT_TTL_S)
    assert jobs.connection().ttl("rq:job:tidy") > 0
    jobs.enqueue(jobs.tidy())
    running.cleanup(jobs.RESULT_TTL_S)
    assert jobs.connection().ttl("rq:job:tidy") == -1


def test_a_job_of_which_only_the_queue_entry_is_left_is_written_again(app: Flask) -> None:
    jobs.enqueue(jobs.tidy())
    jobs.connection().delete("rq:job:tidy")
    jobs.enqueue(jobs.tidy())
    assert jobs.connection().exists("rq:job:tidy")


def test_an_optional_job_is_enqueued_once_per_period(app: Flask, at_once: Callable[..., list[Any]]) -> None:
    at_once(jobs.enqueue_once, *[(jobs.make_avif(7, 640),)] * 10)
    assert jobs.queue(jobs.PIXELS).get_job_ids() == ["make_avif-7-640"]
    assert 0 < jobs.connection().ttl("frontage:enqueued:make_avif-7-640") <= 3600


def test_an_optional_job_whose_enqueuing_failed_does_not_count_as_enqueued(app: Flask) -> None:
    class Seven:
        """Formats as the id 7, but can't be serialised."""

        __str__ = lambda self: "7"  # noqa: E731

    with pytest.raises(TypeError):
        jobs.enqueue_once(Job("workers.images.make_avif", (Seven(), 640), jobs.PIXELS, 120))  # type: ignore[arg-type]
    assert jobs.connection().keys("*") == []
    jobs.enqueue_once(jobs.make_avif(7, 640))
    assert jobs.queue(jobs.PIXELS).get_job_ids() == ["make_avif-7-640"]
