"""RQ's worker, tuned: the job of a killed worker resumes within seconds, and only jobs of `portal.infra.jobs` run.

Measured: with RQ's defaults a killed worker's job resumes after 806 to 812 s, with these after 6.3 to 11.5 s, and two
runs never overlap. The classes override undocumented methods of RQ, so pyproject.toml pins it to TESTED_RQ_VERSION.
"""

import logging
import math
import os
import time
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

TESTED_RQ_VERSION = "2.12.0"
"""The RQ version that these classes were written for and tested with."""

MONITORING_INTERVAL_S = 2  # between a worker's heartbeats for its job …
HEARTBEAT_TTL_S = 3 * MONITORING_INTERVAL_S  # … after which the job counts as abandoned
MAINTENANCE_INTERVAL_S = 2  # of a queue, however many workers it has
TIDY_INTERVAL_S = 60  # for what is only out of date: expired results and failures, names of dead workers
BLOCKING_S = 5  # on an empty queue
WORKER_TTL_S = BLOCKING_S + 15  # RQ's arithmetic
MAINTENANCE_LOCK_S = 15  # RQ holds it for 15 minutes if a worker is killed during its maintenance
STUCK_AFTER = timedelta(seconds=5)  # when a job's worker was killed between queue and start; RQ waits 60 s
PIXELS_CPU_S = 60
PIXELS_MEMORY_BYTES = 1024**3  # measured: 50 megapixels need 480 MB

log = logging.getLogger("workers")


class UnknownJob(Exception):
    """Redis holds a job that `portal.infra.jobs` doesn't list."""


class OutOfTime(BaseException):
    """A job has exceeded its time limit. Not an Exception, so that code which catches decoder errors lets it pass."""


class UncatchableDeathPenalty(UnixSignalDeathPenalty):
    """Raises OutOfTime instead of RQ's exception, which a job could mistake for a fault of a photo or a bucket."""

    def handle_death_penalty(self, signum: int, frame: Any) -> None:
        if issubclass(self._exception, JobTimeoutException):
            raise OutOfTime(f"The job ran for more than {self._timeout} s.")
        super().handle_death_penalty(signum, frame)  # type: ignore[no-untyped-call]


class AllowedJob(Job):
    """A job that runs only functions which `portal.infra.jobs` lists, whoever wrote it into Redis.

    RQ would run any importable function, such as os.system, and also the callbacks and webhooks in the job's hash.
    """

    allowed: ClassVar[set[str]] = {job.name for job in jobs.examples()} | jobs.FORMER_NAMES.keys()

    success_callback = failure_callback = stopped_callback = None

    @property
    def func(self) -> Callable[..., Any]:
        if not self._is_ours():
            raise UnknownJob(f"{self.func_name} is not one of our jobs")
        self.func_name = jobs.FORMER_NAMES.get(self.func_name or "", self.func_name)
        return super().func  # type: ignore[no-any-return]

    @property
    def should_retry(self) -> bool:
        return self._is_ours() and super().should_retry

    def send_webhooks(self, *args: Any, **kwargs: Any) -> None:
        pass

    def cleanup(self, *args: Any, **kwargs: Any) -> None:
        """Let the job expire, unless it was enqueued again while it ran."""
        if self.connection.lpos(Queue(self.origin, self.connection).key, self.id) is None:
            super().cleanup(*args, **kwargs)

    def _is_ours(self) -> bool:
        return self.instance is None and self.func_name in self.allowed


class PromptQueue(Queue):
    """A queue whose maintenance lock expires soon after its worker is killed."""

    job_class = AllowedJob

    def acquire_maintenance_lock(self) -> bool:
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_LOCK_S))

    def release_maintenance_lock(self) -> None:
        """Let the lock expire when the next maintenance is due: one worker of the queue does it, not each."""
        self.connection.pexpire(self.registry_cleaning_key, round(MAINTENANCE_INTERVAL_S * 1000))


class RetryScheduler(RQScheduler):
    """Enqueues due retries. RQ's opens a pool of connections, since it runs in a process of its own."""

    def __init__(self, queue: Queue, connection: Redis) -> None:
        self._shared = connection
        super().__init__([queue], connection, serializer=JSONSerializer)
        self.prepare_registries([queue.name])

    @property
    def connection(self) -> Redis:
        return self._shared


class RequeueingIntermediateQueue(IntermediateQueue):
    """Holds a job while a worker takes it: for milliseconds, unless the worker dies.

    RQ fails a job that it finds here, even if the job is in its queue again, and then it would run twice.
    """

    def remove(self, job_id: str) -> None:
        """Remove the job and the time when it was first seen, which would make RQ consider its next run stuck."""
        with self.connection.pipeline() as pipeline:
            pipeline.lrem(self.key, 0, job_id)
            pipeline.delete(self.get_first_seen_key(job_id))
            pipeline.execute()

    def cleanup(self, worker: BaseWorker, queue: Queue) -> None:
        """Put stuck jobs back into the queue."""
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
            and job.get_status() in (JobStatus.QUEUED, JobStatus.FINISHED)  # finished: enqueued again while it ran
            and job_id not in queue.started_job_registry
            and job_id not in queue.get_job_ids()
        )


class TunedWorker(Worker):
    """A worker of one queue. Its jobs run in work-horses that die with it, so two runs of a job never overlap."""

    job_class = AllowedJob
    queue_class = PromptQueue
    death_penalty_class = UncatchableDeathPenalty
    max_connection_wait_time = 2.0  # seconds between two attempts to reconnect to Redis

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
        self.intermediate_queue = RequeueingIntermediateQueue(self.queue.key, connection)
        self.retries = RetryScheduler(self.queue, connection)
        self.clock = Clock() if queue == jobs.SCHEDULE else None
        self._tidied_at = -math.inf

    @property
    def is_asked_to_stop(self) -> bool:
        return self._shutdown_requested_date is not None

    def subscribe(self) -> None:
        """Don't listen for commands: it needs a thread, which is unsafe with fork(), and anyone could send them."""

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Extend the worker's lifetime; register it again if Redis has lost it, as after a FLUSHALL."""
        timeout = min(timeout or WORKER_TTL_S, WORKER_TTL_S)
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif self._is_registered(timeout):
            self.last_heartbeat = now()
        else:
            self._register_again(timeout)

    def _is_registered(self, timeout: int) -> bool:
        """Extend the key's lifetime; return whether Redis knows the worker.

        The key alone proves nothing: a heartbeat in a pipeline makes one that has no other fields.
        """
        with self.connection.pipeline(transaction=False) as pipeline:
            pipeline.expire(self.key, timeout)
            pipeline.sismember(worker_registration.WORKERS_BY_QUEUE_KEY % self.queue.name, self.key)
            return all(pipeline.execute())

    def _register_again(self, timeout: int) -> None:
        with self.connection.pipeline() as pipeline:
            super().heartbeat(timeout, pipeline)
            pipeline.hset(self.key, mapping=self.serialize() | {"state": self.get_state()})
            worker_registration.register(self, pipeline)
            pipeline.execute()

    def prepare_execution(self, job: Job) -> Execution:
        """Record the execution and remove the job from the intermediate queue.

        RQ leaves the removal to the work-horse; if that dies, the job would be run twice.
        """
        execution = super().prepare_execution(job)
        self.intermediate_queue.remove(job.id)
        return execution

    def get_heartbeat_ttl(self, job: Job) -> int:
        return HEARTBEAT_TTL_S

    def set_shutdown_requested_date(self) -> None:
        """Record the request to stop. If Redis is down, the current job is finished nevertheless."""
        with suppress(RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def maintain_heartbeats(self, job: Job) -> None:
        """Extend the job's lifetime. If Redis is down, the job continues: its state is in the database."""
        with suppress(RedisError):
            super().maintain_heartbeats(job)

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Pipeline | None = None) -> None:
        with suppress(RedisError):
            super().set_current_job_working_time(current_job_working_time, pipeline)

    def run_maintenance_tasks(self) -> None:
        """Requeue jobs of killed workers, enqueue due retries, and tick the clock.

        Every idle worker does this itself, since RQ's scheduler process would outlive a killed worker.
        """
        if self.queue.acquire_maintenance_lock():
            self.queue.started_job_registry.cleanup()
            self.intermediate_queue.cleanup(self, self.queue)
            self.retries.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call]
            if time.monotonic() - self._tidied_at >= TIDY_INTERVAL_S:
                clean_registries(self.queue)
                worker_registration.clean_worker_registry(self.queue)
                self._tidied_at = time.monotonic()
            self.queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
        if self.clock:
            with app().app_context():
                self.clock.tick()
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Prepare the fork, then run the job. An error must not return into the parent's loop as a second worker."""
        try:
            self._become_horse()
        except BaseException:
            log.exception("work-horse failed: job=%s", job.id)
            os._exit(1)
        super().main_work_horse(job, queue)

    def _become_horse(self) -> None:
        """Tie the work-horse to its worker, drop inherited connections, and limit its resources."""
        die_with_parent(self.pid or 0)
        with app().app_context():
            db.engine.dispose(close=False)
        if self.queue.name == jobs.PIXELS:
            limit_this_process(PIXELS_CPU_S, PIXELS_MEMORY_BYTES)

    def end_horse(self) -> None:
        """Kill the running work-horse, if any, when the worker gives up."""
        if self.horse_pid:
            self.kill_horse()
            self.wait_for_horse()
