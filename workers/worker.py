"""RQ's worker, tuned: a killed job comes back within seconds, and only what `portal.infra.jobs` names runs.

The measurements behind the numbers: reliability.md, section 1. It overrides methods of RQ's that are nobody's promise,
so pyproject.toml pins RQ to the versions of TRIED.
"""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

from redis import Redis, RedisError
from redis.client import Pipeline
from rq import Queue, Worker, worker_registration
from rq.executions import Execution
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import clean_registries
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty
from rq.utils import now
from rq.worker import BaseWorker

from portal.db import db
from portal.infra import jobs
from portal.infra.processes import die_with_parent
from portal.pixels.sandbox import limit_this_process
from workers import app
from workers.schedule import Clock

TRIED = "2.12.0"
"""The version of RQ whose internals these classes were written for, and tried with."""

MONITORING_INTERVAL_S = 2  # how often the worker says that its job lives …
HEARTBEAT_TTL_S = 3 * MONITORING_INTERVAL_S  # … and how long that is believed
MAINTENANCE_INTERVAL_S = 2
WORKER_TTL_S = 18  # RQ waits 15 s less than this for a job before it looks at anything else
MAINTENANCE_LOCK_S = 15  # RQ keeps it for 15 minutes where a worker is killed in its maintenance
STUCK_AFTER = timedelta(seconds=5)  # for a worker that was killed between queue and start; RQ waits 60
PIXELS_CPU_S = 60
PIXELS_MEMORY_BYTES = 1024**3  # 50 megapixels need 480 MB (case B7)

log = logging.getLogger("workers")


class NotOurs(Exception):
    """Somebody wrote a job into Redis that `portal.infra.jobs` doesn't name."""


class OutOfTime(BaseException):
    """A job's time is over. No Exception: "whatever goes wrong in a decoder" must not mean this."""


class FirmDeathPenalty(UnixSignalDeathPenalty):
    """Ends a job where RQ's own exception could be taken for a fault of the photo, or of one of many drops."""

    def handle_death_penalty(self, signum: int, frame: Any) -> None:
        if issubclass(self._exception, JobTimeoutException):
            raise OutOfTime(f"The job ran for more than {self._timeout} s.")
        super().handle_death_penalty(signum, frame)  # type: ignore[no-untyped-call]


class AllowedJob(Job):
    """A job that runs only what `portal.infra.jobs` names, whoever wrote it into Redis (case I15).

    RQ would also import callbacks and post to webhooks that stand in the job's hash.
    """

    allowed: ClassVar[set[str]] = {job.name for job in jobs.examples()} | jobs.FORMER_NAMES.keys()

    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Callable[..., Any]:
        if not self._is_ours():
            raise NotOurs(f"{self.func_name} is no job of ours")
        self.func_name = jobs.FORMER_NAMES.get(self.func_name or "", self.func_name)
        return super().func  # type: ignore[no-any-return]

    @property
    def should_retry(self) -> bool:
        return self._is_ours() and super().should_retry

    def send_webhooks(self, *args: Any, **kwargs: Any) -> None:
        pass

    def cleanup(self, *args: Any, **kwargs: Any) -> None:
        """Let it expire in a while; not where it was rung for while it ran, and waits again."""
        if self.connection.lpos(Queue(self.origin, self.connection).key, self.id) is None:
            super().cleanup(*args, **kwargs)

    def _is_ours(self) -> bool:
        return self.instance is None and self.func_name in self.allowed


class PromptQueue(Queue):
    """A queue whose maintenance a killed worker doesn't hold up."""

    job_class = AllowedJob

    def acquire_maintenance_lock(self) -> bool:
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_LOCK_S))


class BetweenQueueAndWorker(IntermediateQueue):
    """Where a job is while a worker takes it: for milliseconds, or its worker is dead (case I4).

    RQ fails what it finds here, even where the job waits in its queue again: then it would run twice.
    """

    def remove(self, job_id: str) -> None:
        """Forget the job, and also when it was first seen: RQ takes it for stuck when it comes again."""
        with self.connection.pipeline() as pipeline:
            pipeline.lrem(self.key, 0, job_id)
            pipeline.delete(self.get_first_seen_key(job_id))
            pipeline.execute()

    def cleanup(self, worker: BaseWorker, queue: Queue) -> None:
        """Put back into the queue what is stuck."""
        for job_id in self.get_job_ids():
            if not self._is_only_here(job_id, queue):
                self.remove(job_id)
            elif not self.set_first_seen(job_id) and self.should_be_cleaned_up(job_id):
                self.remove(job_id)
                queue.push_job_id(job_id, at_front=True)

    def should_be_cleaned_up(self, job_id: str) -> bool:
        first_seen = self.get_first_seen(job_id)
        return first_seen is not None and now() - first_seen > STUCK_AFTER

    def _is_only_here(self, job_id: str, queue: Queue) -> bool:
        job = queue.fetch_job(job_id)
        return (
            job is not None
            and job.get_status() in (JobStatus.QUEUED, JobStatus.FINISHED)  # it was rung for while it ran
            and job_id not in queue.started_job_registry
            and job_id not in queue.get_job_ids()
        )


class TunedWorker(Worker):
    """A worker of one queue (decisions 3 and 4). Its jobs run in work-horses that die with it."""

    job_class = AllowedJob
    queue_class = PromptQueue
    death_penalty_class = FirmDeathPenalty
    max_connection_wait_time = 2.0  # seconds between two looks for a Redis that is away

    def __init__(self, queue: str, connection: Redis) -> None:
        super().__init__(
            [queue],
            name=f"{queue}-{uuid4().hex[:12]}",
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            job_monitoring_interval=MONITORING_INTERVAL_S,
            maintenance_interval=MAINTENANCE_INTERVAL_S,
        )
        self.queue = self.queues[0]
        self.between = BetweenQueueAndWorker(self.queue.key, connection)
        self.clock = Clock() if queue == jobs.SCHEDULE else None

    @property
    def is_asked_to_stop(self) -> bool:
        return self._shutdown_requested_date is not None

    def subscribe(self) -> None:
        """Take no orders over pub/sub: that needs a thread beside fork(), and any writer could give them."""

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that we live, and who we are: after a FLUSHALL nobody would know of us otherwise."""
        if pipeline is None:
            with self.connection.pipeline() as own:
                self.heartbeat(timeout, own)
                own.execute()
            return
        super().heartbeat(min(timeout or WORKER_TTL_S, WORKER_TTL_S), pipeline)
        pipeline.hset(self.key, mapping=self.serialize() | {"state": self.get_state()})
        worker_registration.register(self, pipeline)

    def prepare_execution(self, job: Job) -> Execution:
        """Note who runs the job. RQ leaves its second copy to the horse, and to a second run if that dies."""
        execution = super().prepare_execution(job)
        self.between.remove(job.id)
        return execution

    def get_heartbeat_ttl(self, job: Job) -> int:
        return HEARTBEAT_TTL_S

    def set_shutdown_requested_date(self) -> None:
        """Say that we were told to stop. Where Redis is away, the job in hand is finished all the same."""
        with suppress(RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def maintain_heartbeats(self, job: Job) -> None:
        """Say that the job lives. Where Redis is away, the job goes on: its row is the truth."""
        with suppress(RedisError):
            super().maintain_heartbeats(job)

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Pipeline | None = None) -> None:
        with suppress(RedisError):
            super().set_current_job_working_time(current_job_working_time, pipeline)

    def run_maintenance_tasks(self) -> None:
        """Bring back what a killed worker left, ring for retries that are due, tick the clock.

        Every idle worker does what RQ's scheduler process does: that one outlives a killed worker.
        """
        if self.queue.acquire_maintenance_lock():
            clean_registries(self.queue)
            worker_registration.clean_worker_registry(self.queue)
            self.between.cleanup(self, self.queue)
            self._enqueue_what_is_due()
            self.queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
        if self.clock:
            with app().app_context():
                self.clock.tick()
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def _enqueue_what_is_due(self) -> None:
        scheduler = RQScheduler([self.queue], connection=self.connection, serializer=JSONSerializer)
        scheduler.prepare_registries([self.queue.name])
        scheduler.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call]

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """What the fork does first. Whatever breaks here must not come back as a second worker."""
        try:
            self._become_horse()
        except BaseException:
            log.exception("the work-horse of %s broke off", job.id)
            os._exit(1)
        super().main_work_horse(job, queue)

    def _become_horse(self) -> None:
        """No life, no connection and no appetite of its own."""
        die_with_parent(self.pid or 0)
        with app().app_context():
            db.engine.dispose(close=False)
        if self.queue.name == jobs.PIXELS:
            limit_this_process(PIXELS_CPU_S, PIXELS_MEMORY_BYTES)

    def end_horse(self) -> None:
        """Leave no job running behind a worker that gives up."""
        if self.horse_pid:
            self.kill_horse()
            self.wait_for_horse()
